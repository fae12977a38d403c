package stages

import (
	"context"
	"sync"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
)

// Planner is a stage that can forecast its Run. Both look and compare
// with the same code; Plan does not act.
type Planner interface {
	Stage
	// Plan returns what Run would do now, if the stages before it had done what
	// the outlook expects of them, and makes the outlook expect its own changes
	// too. It changes nothing anywhere. Input.Upstream holds outputs that the
	// stages before it left, or are expected to leave.
	Plan(ctx context.Context, in Input, ahead *Outlook) (Forecast, error)
}

// Forecast is what a stage would get done.
type Forecast struct {
	Pending []Pending
	// Outputs is the stage's type from package state, as far as it is known.
	Outputs any
}

// Pending is what a stage would do at one target. Without a role it concerns
// the whole host, without a host the stage as a whole.
type Pending struct {
	Host, Role string
	Acts       []Act
	// Notes are what is not known, and why.
	Notes []string
	Err   error
}

// Intend notes acts that the stage would do at the target.
func (w *Work) Intend(acts ...Act) { w.acts = append(w.acts, acts...) }

// Intends reports whether the stage would do anything at the target.
func (w *Work) Intends() bool { return len(w.acts) > 0 }

// Wonder notes what is not known.
func (w *Work) Wonder(note string) { w.notes = append(w.notes, note) }

// Foresee is Each for a stage's Plan.
func Foresee[T any](ctx context.Context, in Input, targets []plan.Target, do func(context.Context, *Work) (T, error)) ([]Pending, map[string]T, error) {
	all := make([]Pending, len(targets))
	var mu sync.Mutex
	at := map[string]int{}
	for i, t := range targets {
		at[t.Key()] = i
		all[i] = Pending{Host: t.Host, Role: t.Role.Name}
	}
	note := func(w *Work, err error) {
		mu.Lock()
		defer mu.Unlock()
		p := &all[at[w.Target.Key()]]
		p.Acts, p.Notes, p.Err = w.acts, w.notes, err
	}
	records, results, err := Each(ctx, in, targets, func(ctx context.Context, w *Work) (T, error) {
		result, err := do(ctx, w)
		note(w, err)
		return result, err
	})
	for i, r := range records { // One that was not reached has not noted it.
		if all[i].Err == nil && r.Error != nil {
			all[i].Err = exit.Errorf(exit.OfClass(r.Error.Class), "%s", r.Error.Message)
		}
	}
	return all, results, err
}

// ForeseeHosts is Foresee for work that concerns hosts as a whole.
func ForeseeHosts[T any](ctx context.Context, in Input, do func(context.Context, *Work) (T, error)) ([]Pending, map[string]T, error) {
	all, byKey, err := Foresee(ctx, in, wholeHosts(in.Targets), do)
	return all, byHost(byKey), err
}
