package abort

import (
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// Way is what separates one target from the old version serving alone.
type Way struct {
	// Keep is the container that served before the release; it has no id on a
	// first deploy.
	Keep engine.Container
	// Down are the containers to take down.
	Down []engine.Container
	// Unused are those that never ran; nothing is to be learned from them.
	Unused []engine.Container
	// Moved tells that not Keep alone gets the traffic.
	Moved bool
	// Noted tells that the ledger names the release.
	Noted bool
	// Complete tells that the release serves here, alone and noted, or that a
	// newer one has been here since: by itself this target needs no way back.
	Complete bool
	// Stuck is why there is no way back here.
	Stuck error
	// Over tells that a newer release has been here: nothing is to be touched.
	Over bool
}

// Idle tells that nothing is to be done.
func (w Way) Idle() bool {
	return w.Over || (w.Stuck == nil && len(w.Down)+len(w.Unused) == 0 && !w.Moved && !w.Noted && (w.Keep.ID == "" || w.Keep.Running()))
}

// Ours tells whether the release has left containers that work here.
func (w Way) Ours(release, booted string) bool {
	return !w.Over && slices.ContainsFunc(slices.Concat(w.Down, w.Unused), func(c engine.Container) bool {
		return c.Labels[engine.LabelRelease] == release || c.ID == booted
	})
}

// Decide makes the way of one target from what was observed. booted is the
// container that boot recorded, or "". With a ledger that names the container
// which served before, all others of the role are the release's: a role has one
// container on a host.
func Decide(t plan.Target, release, booted string, seen stages.Seen) Way {
	if seen.Book.Newest() > release {
		return Way{Over: true, Complete: true}
	}
	role := t.Role.Name
	trace, noted := seen.Book.Find(release)
	noted = noted && trace.Live[role] != ""
	before := seen.Book.Before(release, role)
	keep, _ := seen.Find(before)
	w := Way{Keep: keep, Noted: noted}
	routed := func(c engine.Container) bool { return slices.Contains(seen.Routed, c.ID) }
	alone := true
	for _, c := range seen.Containers {
		own := c.Labels[engine.LabelRelease] == release || c.ID == booted || (noted && c.ID == trace.Live[role])
		if c.State == "created" && own && c.ID != keep.ID {
			w.Unused = append(w.Unused, c)
		}
		if !stages.Up(c) {
			continue
		}
		alone = alone && c.ID == trace.Live[role]
		fresh := t.Proxied && !routed(c) && before == ""
		if c.ID != keep.ID && (before != "" || own || fresh) {
			w.Down = append(w.Down, c)
		}
	}
	if live, ok := seen.Find(trace.Live[role]); noted && ok {
		w.Complete = live.Running() && alone && (!t.Proxied || slices.Equal(seen.Routed, []string{live.ID}))
	}
	switch {
	case !t.Proxied:
	case keep.ID == "":
		w.Moved = slices.ContainsFunc(w.Down, routed)
	default:
		w.Moved = !slices.Equal(seen.Routed, []string{keep.ID})
	}
	serves := w.Moved || (!t.Proxied && len(w.Down) > 0)
	if before != "" && keep.ID == "" && serves && !w.Complete {
		w.Stuck = exit.With(exit.Failed,
			fmt.Errorf("the container %s, which served before, is gone: what runs now is left serving", plan.Short(before)),
			"go back with kstep rollback VERSION, or deploy again")
	}
	return w
}
