package boot

import (
	"context"
	"fmt"
	"sync"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// attempt is the try at the barrier that this run of boot belongs to.
type attempt struct {
	in  stages.Input
	old bool // Whether a release has served on one of the hosts before.

	mu      sync.Mutex
	begun   bool
	now     barrier.Attempt
	reasons []string // Why engines refuse to start containers of the primary role.
	hints   []string // What helps.
}

// open is called before a container starts. A barrier that closed before the
// first one is opened again: a second boot needs a new verdict. One that
// closes while this run is at it, by another job's word, ends it.
func (a *attempt) open(ctx context.Context) error {
	a.mu.Lock()
	if now := a.now; a.begun {
		a.mu.Unlock() // The containers of all hosts start at once, and none waits for the look of another.
		verdict, err := now.Find(ctx)
		if now.Verdict = verdict; err == nil && now.Closed() {
			err = exit.With(exit.BarrierClosed, fmt.Errorf("barrier closed meanwhile: %s", verdict.Reason),
				stages.OldServes(a.old)+"; correct the cause and run kstep boot again")
		}
		return err
	}
	defer a.mu.Unlock()
	var err error
	h, err := a.in.Hosts.Get(ctx, plan.LeaseHost(a.in.All))
	if err != nil {
		return err
	}
	names, err := stages.Names(ctx, a.in, h)
	if err != nil {
		return err
	}
	if a.now, err = barrier.Current(ctx, h.Files(), names.Verdict(a.in.Release)); err != nil {
		return err
	}
	if a.now.Closed() {
		a.now, err = a.now.Again(ctx)
	}
	a.begun = err == nil
	return err
}
