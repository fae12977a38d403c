package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/route"
)

// observe returns all that a release leaves on the hosts, in a form that is the
// same for every release: what is live, what is kept, files, routes, cords,
// ledger, lease.
func (g *ground) observe() string {
	g.t.Helper()
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(g.hosts)) {
		fmt.Fprintf(&all, "== %s\n%s", name, g.observeHost(g.hosts[name]))
	}
	return all.String()
}

func (g *ground) observeHost(fake *hosttest.Fake) string {
	look := fake.Look()
	defer look.CloseIdle()
	containers, err := look.Containers(g.t.Context(), engine.Filter{All: true})
	if err != nil {
		return err.Error()
	}
	images, err := look.Images(g.t.Context(), engine.Filter{})
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, c := range containers {
		now, err := look.Inspect(g.t.Context(), c.ID)
		if err != nil {
			return err.Error()
		}
		c.Restart = now.Restart
		lines = append(lines, containerLine(c))
	}
	for _, i := range images {
		slices.Sort(i.Tags)
		lines = append(lines, fmt.Sprintf("image %v", i.Tags))
	}
	lines = append(lines, files(fake)...)
	plain := g.plain(fake, containers)
	for i, line := range lines {
		lines[i] = containerID.ReplaceAllString(plain.Replace(generic(line)), "GONE")
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

func containerLine(c engine.Container) string {
	labels := maps.Clone(c.Labels)
	labels[engine.LabelSpec] = "#"
	if labels[engine.LabelRelease] != "" {
		labels[engine.LabelRelease] = "#"
	}
	state := c.State
	if c.Running() {
		state += " " + c.Health
	}
	slices.SortFunc(c.Mounts, func(a, b engine.Mount) int { return strings.Compare(a.Target, b.Target) })
	return fmt.Sprintf("container %s %s %s %v %v", c.Name, state, c.Restart, labels, c.Mounts)
}

// plain puts names in the place of what differs between hosts and versions.
func (g *ground) plain(fake *hosttest.Fake, containers []engine.Container) *strings.Replacer {
	versions := []string{versionName(g.version), "NEW", versionName(g.version - 1), "OLD", versionName(g.version - 2), "OLDER", versionName(g.version - 3), "OLDEST", versionName(g.version + 1), "NEWER"}
	pairs := append(versions, fake.Root, "", g.registry.Host(), "registry")
	for _, c := range containers {
		named := generic(strings.NewReplacer(versions...).Replace(c.Name))
		pairs = append(pairs, c.ID, named, c.ID[:12], named)
	}
	return strings.NewReplacer(pairs...)
}

var (
	releaseID   = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b`)
	shortDigest = regexp.MustCompile(`-[0-9a-f]{8}\b`)
	// Of the containers' ids; a route that came back also outranks the one before.
	routeMark     = regexp.MustCompile(route.Header + `\\?": \\?"[0-9a-f]+`)
	routePriority = regexp.MustCompile(`priority\\?": [0-9]+`)
	apiUser       = regexp.MustCompile(`kstep:\{SHA\}[^"\\]+`) // Made from the host's own api.key.
	containerID   = regexp.MustCompile(`\b[0-9a-f]{64}\b`)     // Of one that is not there any more.
	longDigest    = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
)

// generic leaves out what differs between two runs of the same.
func generic(text string) string {
	text = routeMark.ReplaceAllString(text, "MARK")
	text = apiUser.ReplaceAllString(text, "API")
	text = routePriority.ReplaceAllString(text, "PRIORITY")
	text = releaseID.ReplaceAllString(text, "RELEASE")
	text = longDigest.ReplaceAllString(text, "sha256:#")
	return shortDigest.ReplaceAllString(text, "-#")
}

// files returns the files in the host's run directory, with the content of those
// that mean something.
func files(fake *hosttest.Fake) []string {
	run := filepath.Join(fake.Home, ".kstep")
	var lines []string
	err := filepath.WalkDir(run, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		short, err := filepath.Rel(run, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		lines = append(lines, fileLines(short, data)...)
		return nil
	})
	if err != nil {
		return []string{err.Error()}
	}
	return append(lines, leaseLine(filepath.Join(run, "shop", "lease")))
}

func fileLines(name string, data []byte) []string {
	switch dir, base := path.Split(name); {
	case strings.HasPrefix(name, "shop/lease/"), dir == "shop/ledger/", base == "fingerprint.key", strings.HasPrefix(base, "audit"):
		return nil // Shown in another way, or different every time.
	case base == "ledger.json":
		return ledgerLines(data)
	case strings.HasPrefix(base, ".") && strings.HasSuffix(base, ".tmp"):
		return nil // Half written when the run was killed; kstep does not read it, and a later prune removes it.
	case strings.HasPrefix(name, "shop/state/"), strings.HasPrefix(name, "shop/barrier/"), strings.HasSuffix(base, "complete.json"), base == "api.key":
		return []string{"file " + name}
	default:
		return []string{fmt.Sprintf("file %s %q", name, data)}
	}
}

func ledgerLines(data []byte) []string {
	var book ledger.Ledger
	if err := json.Unmarshal(data, &book); err != nil {
		return []string{"ledger " + err.Error()}
	}
	var lines []string
	for i, r := range book.Releases {
		lines = append(lines, fmt.Sprintf("ledger %d %s %s %s %v", i, r.Version, r.Image, r.Tag, r.Live))
	}
	return lines
}

// leaseLine shows whether the lease is free. The file with the highest number
// is the lease.
func leaseLine(dir string) string {
	found, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(found) == 0 {
		return "no lease"
	}
	data, err := os.ReadFile(slices.Max(found))
	if err != nil {
		return err.Error()
	}
	if len(data) == 0 { // See lease.Store.Release.
		return "lease freed: true"
	}
	var holder lease.Holder
	if err := json.Unmarshal(data, &holder); err != nil {
		return "lease " + err.Error()
	}
	return fmt.Sprintf("lease freed: %t", holder.Released)
}
