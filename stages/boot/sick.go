package boot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// refusal is an engine's answer that a container cannot start: its program is not
// in the image, a device is not on the host.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refused marks an engine's refusal to make or start a container. Another failure
// says nothing about the release.
func refused(err error) error {
	for _, other := range []error{
		engine.ErrUnreachable, engine.ErrNotFound, engine.ErrConflict, engine.ErrUnauthorized, engine.ErrRegistry,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, other) {
			return err
		}
	}
	return refusal{err}
}

// bear hands the refusal of an engine to start a container of the primary role to
// the barrier: it decides by its quorum whether the release goes on without this
// host. A role that does not count there has no quorum, so its failure is the
// stage's.
func (a *attempt) bear(w *stages.Work, out state.BootTarget, err error) (state.BootTarget, error) {
	why, is := errors.AsType[refusal](err)
	switch {
	case !is:
		return out, err
	case !w.Target.Primary:
		return out, exit.Hint(err, "correct the cause and run the same command again, or take down what was started: kstep abort")
	}
	out.Sick = why.Error()
	a.mu.Lock()
	a.reasons = append(a.reasons, w.Target.Key()+": "+out.Sick)
	a.hints = append(a.hints, exit.Hints(err)...)
	a.mu.Unlock()
	a.in.Warn("%s cannot start, and the barrier decides whether the others are enough: %s", w.Target.Key(), out.Sick)
	return out, nil
}

// judge closes the barrier where so many containers of the primary role cannot
// start that the quorum is out of reach: no job has to wait for that. Then all
// that the release has started is stopped.
func (a *attempt) judge(ctx context.Context, results map[string]state.BootTarget, err error) error {
	if len(a.reasons) == 0 || ctx.Err() != nil {
		return err
	}
	count := a.count()
	if _, decided := count.Decided(); !decided {
		return err
	}
	slices.Sort(a.reasons)
	verdict, settleErr := a.now.Settle(ctx, state.Verdict{
		Release: a.in.Release, Total: count.Total, Needed: count.Needed,
		Reason: strings.Join(a.reasons, "; "), At: time.Now().UTC(),
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
	slices.Sort(a.hints)
	return exit.With(exit.BarrierClosed, errors.Join(fmt.Errorf("barrier closed: %s", verdict.Reason), stopErr),
		append(slices.Compact(a.hints), stages.OldServes(a.old)+"; correct the cause, and run the same command again")...)
}

// count is the barrier's, with the containers that cannot start.
func (a *attempt) count() barrier.Count {
	first := !a.old && len(a.in.Targets) == len(a.in.All) // A shard does not know.
	count := barrier.NewCount(a.in.Config.Barrier.QuorumOf(first), len(plan.Primary(a.in.All)))
	count.Sick = len(a.reasons)
	return count
}
