package abort

import (
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/stages"
)

// Way is what separates one target from the old version serving alone.
type Way struct {
	// Keep are the containers that served before the release; there are none on
	// a first deploy.
	Keep []engine.Container
	// Down are the containers to take down.
	Down []engine.Container
	// Unused are those that never ran; nothing is to be learned from them.
	Unused []engine.Container
	// Rest are those that do not run, and are not to.
	Rest []engine.Container
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

	book ledger.Ledger
}

// stopped are those to keep that do not run.
func (w Way) stopped() []engine.Container {
	return slices.DeleteFunc(slices.Clone(w.Keep), engine.Container.Running)
}

// Idle tells that nothing is to be done.
func (w Way) Idle() bool {
	return w.Over || (w.Stuck == nil && len(w.Down)+len(w.Unused) == 0 && !w.Moved && !w.Noted && len(w.stopped()) == 0)
}

// Ours tells whether the release has left containers that work here.
func (w Way) Ours(release string, booted []string) bool {
	return !w.Over && slices.ContainsFunc(slices.Concat(w.Down, w.Unused), func(c engine.Container) bool {
		return c.Labels[engine.LabelRelease] == release || slices.Contains(booted, c.ID)
	})
}

// Decide makes the way of one target from what was observed. booted are the
// containers that boot recorded, if its file is there. With a ledger that names
// the containers which served before, all others of the role are the release's.
func Decide(t plan.Target, release string, booted []string, seen stages.Seen) Way {
	if seen.Book.Newest() > release {
		return Way{Over: true, Complete: true}
	}
	role := t.Role.Name
	trace, noted := seen.Book.Find(release)
	own := trace.Live[role]
	entry, replaced := trace.Replaced[role]
	if replaced {
		own = nil
	}
	noted = noted && (len(own) > 0 || replaced && len(trace.Live[entry.By]) > 0)
	before, known := seen.Book.Before(release, role)
	w := Way{Keep: seen.Find(before), Noted: noted, book: seen.Book}
	routed := func(c engine.Container) bool { return slices.Contains(seen.Routed, c.ID) }
	alone := true
	for _, c := range seen.Containers {
		ours := c.Labels[engine.LabelRelease] == release || slices.Contains(booted, c.ID) || slices.Contains(own, c.ID)
		kept := slices.Contains(before, c.ID)
		if c.State == "created" && ours && !kept {
			w.Unused = append(w.Unused, c)
		}
		if !c.Up() {
			if !kept {
				w.Rest = append(w.Rest, c)
			}
			continue
		}
		alone = alone && slices.Contains(own, c.ID)
		fresh := t.Proxied && !routed(c) && len(before) == 0
		if !kept && (known || ours || fresh) {
			w.Down = append(w.Down, c)
		}
	}
	if replaced {
		w.Complete = noted && (alone || entry.Spared) && len(seen.Routed) == 0
	} else if live := seen.Find(own); noted && len(live) == len(own) {
		w.Complete = alone && !slices.ContainsFunc(live, func(c engine.Container) bool { return !c.Running() }) &&
			(!t.Proxied || seen.RoutedTo(live))
	}
	switch {
	case !t.Proxied:
	case len(w.Keep) == 0:
		w.Moved = slices.ContainsFunc(w.Down, routed)
	default:
		w.Moved = !seen.RoutedTo(w.Keep)
	}
	serves := w.Moved || replaced || (!t.Proxied && len(w.Down) > 0)
	if len(before) > 0 && len(w.Keep) == 0 && serves && !w.Complete {
		w.Stuck = exit.With(exit.Failed,
			fmt.Errorf("the container %s, which served before, is gone: what runs now is left serving", short.Of(before[0])),
			"go back with kstep rollback VERSION, or deploy again")
	}
	return w
}
