package stages

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// Past is a version that is or was in service, and whether it can be again.
type Past struct {
	Version string
	// Release is the newest that put the version into service, At when, By who.
	Release string
	At      time.Time
	By      string
	// RolledBack is true if a rollback left the version, or went past it, and it
	// has not served since.
	RolledBack bool
	// Live are the targets on which it serves now, by key.
	Live []string
	// Ready are the targets whose own container of it was retained, with its
	// image; Missing says of the others why not.
	Ready   []string
	Missing map[string]string
	// Rotated are the secrets, by name, that some of its retained containers were
	// made with other values of than now.
	Rotated []string
	// Targets are where the version serves if it comes back: the roles that it
	// had.
	Targets []plan.Target

	image string // By digest.
	host  string // One that has it.
}

// Everywhere reports whether every target can go back to it.
func (p Past) Everywhere() bool { return len(p.Ready) > 0 && len(p.Missing) == 0 }

// trace is what one target knows of one version.
type trace struct {
	entry ledger.Release
	live  bool
	// missing says why it cannot serve again.
	missing string
	// rotated are the secrets that have another value now.
	rotated []string
	image   bool // The host has it.
}

// Sight is what one target is like.
type Sight struct {
	Seen
	past map[string]trace // By version.
}

// Retained are the versions that the target can go back to, the latest in
// service first.
func (s Sight) Retained() []string {
	ready := slices.DeleteFunc(slices.Collect(maps.Keys(s.past)), func(version string) bool {
		return s.past[version].live || s.past[version].missing != ""
	})
	slices.SortFunc(ready, func(a, b string) int { return cmp.Compare(s.past[b].entry.ID, s.past[a].entry.ID) })
	return ready
}

// Look observes all targets, by one rule for what they can go back to. It returns
// what Each does.
func Look(ctx context.Context, in Input) ([]state.Target, map[string]Sight, error) {
	// A host that fails here fails again below, which reports it.
	var images map[string][]engine.Image
	var listing sync.WaitGroup
	listing.Go(func() {
		_, images, _ = EachHost(ctx, in, in.Targets, func(ctx context.Context, w *Work) ([]engine.Image, error) {
			return w.Host.Engine().Images(ctx, engine.Filter{})
		})
	})
	return Each(ctx, in, in.Targets, func(ctx context.Context, w *Work) (s Sight, err error) {
		if s.Seen, err = Observe(ctx, in, w); err != nil {
			return s, err
		}
		listing.Wait()
		own, listed := images[w.Target.Host]
		if !listed {
			if own, err = w.Host.Engine().Images(ctx, engine.Filter{}); err != nil {
				return s, err
			}
		}
		s.past = traces(in, w, s.Seen, own)
		return s, s.rotate(ctx, w)
	})
}

// View is what all targets of an input are like, and after them those of roles
// that served on their hosts and are not configured there any more.
type View struct {
	Targets []plan.Target
	Records []state.Target
	Found   map[string]Sight // By target key.

	before earlier
}

// LookAll observes the input's targets and the roles that left. A view is
// returned also with an error.
func LookAll(ctx context.Context, in Input) (View, error) {
	v := View{before: lookEarlier(ctx, in)}
	v.Targets = v.before.targets()
	in.Targets = v.Targets
	var err error
	v.Records, v.Found, err = Look(ctx, in)
	return v, err
}

// Past are the versions that the targets in view can go back to, the latest in
// service first.
func (v View) Past() []Past {
	found := v.Found
	var all []Past
	for _, version := range served(v.Targets, found) {
		p := Past{
			Version: version.Name, RolledBack: version.RolledBack,
			Missing: map[string]string{}, Targets: v.before.layout(version.Name),
		}
		for _, t := range p.Targets {
			if one, known := found[t.Key()].past[version.Name]; known {
				p.add(t.Host, t.Key(), one)
			} else {
				p.Missing[t.Key()] = "it has never served there, or was forgotten"
			}
		}
		all = append(all, p)
	}
	return all
}

func (p *Past) add(host, key string, one trace) {
	if one.entry.ID > p.Release {
		p.Release, p.At, p.By = one.entry.ID, one.entry.At, one.entry.By
	}
	if one.live {
		p.Live = append(p.Live, key)
	}
	if one.image && (p.image == "" || one.missing == "") {
		p.image, p.host = one.entry.Image, host
	}
	if one.missing != "" {
		p.Missing[key] = one.missing
		return
	}
	p.Ready = append(p.Ready, key)
	for _, name := range one.rotated {
		if !slices.Contains(p.Rotated, name) {
			p.Rotated = append(p.Rotated, name)
		}
	}
}

// traces are what a target knows of the versions that served there.
func traces(in Input, w *Work, seen Seen, images []engine.Image) map[string]trace {
	role := w.Target.Role.Name
	live := seen.Live(role, w.Target.Proxied)
	all := map[string]trace{}
	for _, entry := range seen.Book.Releases { // The newest comes last, and counts.
		if len(entry.Live[role]) == 0 {
			continue
		}
		all[entry.Version] = trace{
			entry:   entry,
			live:    len(live) > 0 && live[0].Labels[engine.LabelVersion] == entry.Version,
			missing: missing(in, w, seen, images, entry),
			image:   hasImage(images, entry),
		}
	}
	return all
}

// missing says what a version lacks to serve again as it was, if anything.
func missing(in Input, w *Work, seen Seen, images []engine.Image, entry ledger.Release) string {
	role := w.Target.Role.Name
	for i := range entry.Live[role] {
		name := w.Names.Replica(role, entry.Version, i+1)
		at := slices.IndexFunc(seen.Containers, func(c engine.Container) bool { return c.Name == name })
		switch {
		case at < 0 && i == 0:
			return "its container was removed"
		case at < 0:
			return fmt.Sprintf("its container %s was removed", name)
		case w.Target.Proxied && SwitchKind(w, seen.Containers[at]) != in.Config.Proxy.Switch:
			return fmt.Sprintf("its container was made for the switch %s", SwitchKind(w, seen.Containers[at]))
		}
	}
	if !hasImage(images, entry) {
		return "its image was removed"
	}
	return ""
}

func hasImage(images []engine.Image, entry ledger.Release) bool {
	return slices.ContainsFunc(images, func(i engine.Image) bool { return i.Named(entry.Image) || i.Named(entry.Tag) })
}

// Stale says that the version would come back with secrets that have changed, and
// what brings it back with those of now; empty if none has.
func (p Past) Stale() string {
	if len(p.Rotated) == 0 {
		return ""
	}
	return fmt.Sprintf("made with another %s than now: kstep rollback --fresh %s takes those of now", strings.Join(p.Rotated, ", "), short.Of(p.Version))
}

// Why says in a few words where it is not ready.
func (p Past) Why() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(p.Missing)) {
		parts = append(parts, key+": "+p.Missing[key])
	}
	return strings.Join(parts, "; ")
}

// Direct reports that the version was deployed without a registry.
func (p Past) Direct() bool { return state.Referenced(p.image).Direct }

// Pushed is what push would say of the version's image, from a host that has
// it: going back needs no registry.
func (p Past) Pushed(ctx context.Context, in Input) (state.PushOutputs, error) {
	in.Version = p.Version
	if p.image == "" {
		return state.PushOutputs{}, exit.With(exit.Failed, fmt.Errorf("no host has the image of version %s any more, and there is no registry to pull it from", p.Version),
			"deploy that version again: check out its commit and run kstep deploy")
	}
	out, err := pushed(ctx, in, p.host, p.image)
	out.Retained, out.GoesBack = true, true
	return out, err
}

// pushed is what push said of an image, from a host that has it.
func pushed(ctx context.Context, in Input, hostName, ref string) (state.PushOutputs, error) {
	h, err := in.Hosts.Get(ctx, hostName)
	if err != nil {
		return state.PushOutputs{}, err
	}
	image, err := h.Engine().Image(ctx, ref)
	if err != nil {
		return state.PushOutputs{}, err
	}
	out := state.Referenced(ref)
	return state.PushOutputs{
		Image: state.Image{
			ConfigDigest: cmp.Or(image.ConfigDigest, image.ID), DiffIDs: image.DiffIDs, Platform: image.Platform,
		},
		Repository: out.Repository, Digest: out.Digest, Direct: out.Direct,
		Tags:     []string{in.Version, LatestTag(in.Config)},
		Insecure: in.Config.Registry.Insecure,
	}, nil
}
