package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// sick notes that an engine refuses to start a container: its program is not in
// the image, a device is not on the host. Another failure says nothing about the
// release.
func (a *attempt) sick(t plan.Target, err error) error {
	if errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrNotFound) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reasons == nil {
		a.reasons = map[string]string{}
	}
	a.reasons[t.Key()] = err.Error()
	return err
}

// judge closes the barrier where so many containers of the primary role cannot
// start that the quorum is out of reach: nobody has to wait for that. Then all
// that the release has started is stopped.
func (a *attempt) judge(ctx context.Context, results map[string]state.BootTarget, err error) error {
	if len(a.reasons) == 0 || ctx.Err() != nil {
		return err
	}
	total := 0
	var reasons []string
	for _, t := range a.in.All {
		if !t.Primary {
			continue
		}
		total++
		if why, is := a.reasons[t.Key()]; is {
			reasons = append(reasons, t.Key()+": "+why)
		}
	}
	first := !a.old && len(a.in.Targets) == len(a.in.All) // A shard does not know.
	count := barrier.NewCount(a.in.Config.Barrier.QuorumOf(first), total)
	count.Sick = len(reasons)
	if _, decided := count.Decided(); !decided {
		return exit.Hint(err, "correct the cause and run the same command again, or take down what was started: kstep abort")
	}
	verdict, settleErr := a.now.Settle(ctx, state.Verdict{
		Release: a.in.Release, Total: count.Total, Needed: count.Needed,
		Reason: strings.Join(reasons, "; "), At: time.Now().UTC(),
	})
	if settleErr != nil || verdict.Open {
		return errors.Join(err, settleErr)
	}
	_, _, stopErr := stages.Each(ctx, a.in, a.in.All, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if booted, own := results[w.Target.Key()]; own {
			return struct{}{}, stages.StopNew(ctx, a.in, w, booted.IDs())
		}
		return struct{}{}, stages.StopBooted(ctx, a.in, w)
	})
	return exit.With(exit.BarrierClosed, errors.Join(fmt.Errorf("barrier closed: %s", verdict.Reason), stopErr),
		append(exit.Hints(err), stages.OldServes(a.old)+"; correct the cause, and run the same command again")...)
}
