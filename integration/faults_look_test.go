//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/integration/rig"
)

// look returns what a release left on the hosts, in a form that is the same for
// every release: containers, images, files, routes, and whether the lease is
// free.
func (b *broken) look() rig.Snapshot {
	b.t.Helper()
	var lines []string
	for _, h := range b.rig.Hosts {
		for _, line := range b.lookAt(h) {
			lines = append(lines, h.Name+" "+line)
		}
	}
	lines = append(lines, "lease "+b.plain(b.must("lock", "status").Stdout))
	slices.Sort(lines)
	return rig.Snapshot(strings.Join(slices.Compact(lines), "\n"))
}

func (b *broken) lookAt(h *rig.Host) []string {
	b.t.Helper()
	ctx := b.t.Context()
	containers, err := h.Containers(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	names := []string{}
	for _, c := range containers {
		health := "none"
		if c.State.Health != nil {
			health = c.State.Health.Status
		}
		if !c.State.Running {
			health = "" // What it last was.
		}
		names = append(names, c.ID[:12], b.plain(c.Name))
		lines = append(lines, fmt.Sprintf("container %s %s %s restarts %d of release %s",
			c.Name, c.State.Status, health, c.RestartCount, c.Config.Labels["kstep.version"]))
	}
	images, err := h.Images(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, image := range images {
		for _, tag := range image.RepoTags {
			if version, ok := strings.CutPrefix(tag, rig.Registry+"/acme/shop:"); ok {
				lines = append(lines, "image "+version)
			}
		}
	}
	// Generations of the ledger and of the lease are counted on; half written
	// files of a killed run are hidden, and swept by a later prune.
	files, err := h.Exec(ctx, "sh", "-c", `cd /root/.kstep && find . -type f ! -path '*/lease/*' ! -path '*/ledger/*' ! -name '.*.tmp' ! -name 'audit*' -printf '%P\n' && cat proxy/routes/shop-* 2>/dev/null || true`)
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range strings.Lines(files) {
		lines = append(lines, "file "+line)
	}
	ids := strings.NewReplacer(names...)
	for i, line := range lines {
		lines[i] = b.plain(ids.Replace(strings.TrimSpace(line)))
	}
	return lines
}

var (
	releaseID   = regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{26}\b`)
	shortDigest = regexp.MustCompile(`-[0-9a-f]{8}\b`)
	styleSheet  = regexp.MustCompile(`app-v[123]\.css`)
	routeMark   = regexp.MustCompile(`("X-Kstep-Route": )"[0-9a-f]{12}"`) // It stands for containers.
)

// plain puts names in the place of what differs between releases.
func (b *broken) plain(text string) string {
	text = strings.NewReplacer(b.name(b.count), "NEW", b.name(b.count-1), "OLD", b.name(b.count-2), "OLDER").Replace(text)
	text = styleSheet.ReplaceAllString(text, "app.css") // One image after the other.
	text = routeMark.ReplaceAllString(text, `$1"#"`)
	return shortDigest.ReplaceAllString(releaseID.ReplaceAllString(text, "RELEASE"), "-#")
}
