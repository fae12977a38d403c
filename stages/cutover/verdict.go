package cutover

import (
	"context"
	"fmt"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// verdict is the barrier's verdict on the release. It is read on the lease host: what
// the state file of barrier-wait says of it is a claim.
type verdict struct {
	host string
	done chan struct{} // Closed when it was read.
	now  barrier.Attempt
	err  error
}

// readVerdict begins to read the verdict, beside what the stage reads meanwhile.
func readVerdict(ctx context.Context, in stages.Input) *verdict {
	v := &verdict{host: plan.LeaseHost(in.All), done: make(chan struct{})}
	go func() {
		defer close(v.done)
		v.now, v.err = attempt(ctx, in)
	}()
	return v
}

// isOpen reports whether the barrier has opened for the release.
func (v *verdict) isOpen(release string) bool {
	<-v.done
	made := v.now.Verdict
	return v.err == nil && made != nil && made.Open && made.Release == release
}

// opened returns the verdict, or an error unless the barrier has opened for the
// release. kept says what serves then.
func (v *verdict) opened(release, kept string) (state.Verdict, error) {
	switch {
	case v.isOpen(release):
		return *v.now.Verdict, nil
	case v.err != nil:
		return state.Verdict{}, v.err
	case v.now.Closed():
		return *v.now.Verdict, closed(v.now, kept)
	}
	return state.Verdict{}, exit.With(exit.BadState,
		fmt.Errorf("no barrier has opened for release %s on %s: %s", release, v.host, kept), "run kstep barrier-wait, and then kstep cutover again")
}

// notClosed returns an error if the barrier has closed, as abort does it. kept says
// what serves then.
func notClosed(ctx context.Context, in stages.Input, kept string) error {
	now, err := attempt(ctx, in)
	if err != nil || !now.Closed() {
		return err
	}
	return closed(now, kept)
}

func closed(now barrier.Attempt, kept string) error {
	return exit.With(exit.BarrierClosed, fmt.Errorf("the barrier is closed: %s", now.Verdict.Reason),
		kept+"; run kstep boot again if the release should go on")
}

func attempt(ctx context.Context, in stages.Input) (barrier.Attempt, error) {
	h, err := in.Hosts.Get(ctx, plan.LeaseHost(in.All))
	if err != nil {
		return barrier.Attempt{}, err
	}
	names, err := stages.Names(ctx, in, h)
	if err != nil {
		return barrier.Attempt{}, err
	}
	return barrier.Current(ctx, h.Files(), names.Verdict(in.Release))
}
