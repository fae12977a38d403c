package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/short"
)

// The facts of a target that are not about one container.
const (
	trafficFact = "traffic"
	envFact     = "env file"
	ledgerFact  = "newest release"
	// ownFact is whether the planned release has made a container. It shows no
	// other release, but how far this one has come.
	ownFact = "this release"
	present = "has a container"
)

// observed are the facts that a plan rests upon. What the release itself made
// is none: the pipeline's own progress must not look like another release's.
func observed(ctx context.Context, in Input, w *Work) (map[string]string, error) {
	seen, err := Observe(ctx, in, w)
	if err != nil {
		return nil, err
	}
	facts := map[string]string{ledgerFact: newestBeside(seen.Book, in.Release), ownFact: "has none"}
	for _, c := range seen.Containers {
		if c.Labels[engine.LabelRelease] == in.Release {
			facts[ownFact] = present
		} else {
			facts[containerFact(c)] = condition(c)
		}
	}
	if w.Target.Proxied {
		live := slices.DeleteFunc(slices.Clone(seen.Containers), func(c engine.Container) bool { return !slices.Contains(seen.Routed, c.ID) })
		facts[trafficFact] = takers(in.Release, live)
	}
	facts[envFact], err = envFingerprint(ctx, w)
	return facts, err
}

func containerFact(c engine.Container) string { return "container " + short.Of(c.ID) }

// condition is what counts of a container: its name and whether it works. What
// it was made from never changes.
func condition(c engine.Container) string {
	now := "stopped"
	if c.Up() {
		now = "running"
	}
	return c.Name + ", " + now
}

// takers names the containers that get the traffic.
func takers(release string, live []engine.Container) string {
	var names []string
	for _, c := range live {
		name := "this release"
		if c.Labels[engine.LabelRelease] != release {
			name = fmt.Sprintf("version %s (%s)", c.Labels[engine.LabelVersion], short.Of(c.ID))
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "no container"
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " and ")
}

// newestBeside is the newest release in the ledger but this one.
func newestBeside(book ledger.Ledger, release string) string {
	for _, r := range slices.Backward(book.Releases) {
		if r.ID != release {
			return fmt.Sprintf("%s (version %s)", r.ID, r.Version)
		}
	}
	return "none"
}

func envFingerprint(ctx context.Context, w *Work) (string, error) {
	data, err := w.Host.Files().Read(ctx, w.Names.EnvFile(w.Target.Role.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	key, err := envfile.Find(ctx, w.Host.Files(), w.Names.EnvKey())
	if err != nil || key == nil {
		return "not of kstep", err
	}
	return envfile.Fingerprint(key, data), nil
}
