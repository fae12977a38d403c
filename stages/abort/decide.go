package abort

import (
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
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
	// Moved is true unless Keep alone gets the traffic.
	Moved bool
	// Taken is true if containers of the release get all of the traffic, or if
	// the ledger says so.
	Taken bool
	// Noted is true if the ledger says that the release serves here.
	Noted bool
	// Foreign is true if the release has no such role here: it was added to the
	// configuration later.
	Foreign bool
	// Stuck is why there is no way back here, if there is none.
	Stuck string
	// Over is true if a newer release has been here: abort changes nothing.
	Over bool

	book ledger.Ledger
	was  ledger.Role // How the role was configured when Keep served.
}

// Complete reports whether the release needs nothing more here: the ledger says
// that it serves, or a newer release has been here. What runs at the moment does
// not count: containers may have been stopped by hand.
func (w Way) Complete() bool { return w.Over || w.Noted }

// stopped are those to keep that do not run.
func (w Way) stopped() []engine.Container {
	return slices.DeleteFunc(slices.Clone(w.Keep), engine.Container.Running)
}

// Idle reports whether nothing is to be done.
func (w Way) Idle() bool {
	return w.Over || !w.late() && !w.Moved && !w.Noted && len(w.stopped()) == 0
}

// late reports whether containers of the release run, or may be started by a
// job that comes late.
func (w Way) late() bool { return !w.Over && len(w.Down)+len(w.Unused) > 0 }

// Ours reports whether the release has left containers that work here.
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
		return Way{Over: true}
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
	w := Way{Keep: seen.Find(before), Noted: noted, book: seen.Book, was: seen.Book.AsServed(role, before)}
	routed := func(c engine.Container) bool { return slices.Contains(seen.Routed, c.ID) }
	earlier := false // Another release was here, and the ledger does not know it.
	for _, c := range seen.Containers {
		ours := c.Labels[engine.LabelRelease] == release || slices.Contains(booted, c.ID) || slices.Contains(own, c.ID)
		kept := slices.Contains(before, c.ID)
		earlier = earlier || !ours && !seen.Book.Knows(c.Labels[engine.LabelRelease])
		if c.State == "created" && ours && !kept {
			w.Unused = append(w.Unused, c)
		}
		if !c.Up() {
			if !kept {
				w.Rest = append(w.Rest, c)
			}
			continue
		}
		fresh := t.Proxied && !routed(c) && len(before) == 0
		if !kept && (known || ours || fresh) {
			w.Down = append(w.Down, c)
		}
	}
	_, configured := trace.Roles[role]
	w.Foreign = !noted && len(trace.Roles) > 0 && !configured && !slices.ContainsFunc(seen.Containers, func(c engine.Container) bool {
		return c.Labels[engine.LabelRelease] == release
	})
	w.Taken = t.Proxied && (noted || slices.ContainsFunc(w.Down, routed)) && !slices.ContainsFunc(w.Keep, routed)
	switch {
	case !t.Proxied:
	case len(w.Keep) == 0:
		w.Moved = slices.ContainsFunc(w.Down, routed)
	default:
		w.Moved = !seen.RoutedTo(w.Keep)
	}
	serves := w.Moved || replaced || noted || (!t.Proxied && len(w.Down) > 0)
	switch {
	case len(w.Keep) > 0 || !serves:
	case len(before) > 0:
		w.Stuck = fmt.Sprintf("the container %s%s, which served before, was removed", short.Of(before[0]), ofVersion(seen.Book, role, before))
	case !known && (earlier || noted && !slices.Contains(trace.First, role)):
		w.Stuck = "the ledger does not say which container served before"
	}
	return w
}

// ofVersion is the version that these containers served, in words.
func ofVersion(book ledger.Ledger, role string, ids []string) string {
	for _, r := range slices.Backward(book.Releases) {
		if slices.Equal(r.Live[role], ids) {
			return " of version " + r.Version
		}
	}
	return ""
}
