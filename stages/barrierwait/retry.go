package barrierwait

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/stages"
)

// isRetry reports whether this run of the stage came after the one that the
// barrier closed for, and not beside it: its job is run again. Then the
// containers get another chance. A release that was aborted gets none.
func (g *gate) isRetry() bool {
	if !g.attempt.Closed() || g.attempt.Verdict.Aborted {
		return false
	}
	if len(g.in.Targets) == len(g.in.All) {
		return true // There is no job beside it.
	}
	own := g.before.Verdict
	return own.Release == g.in.Release && own.At.Equal(g.attempt.Verdict.At)
}

// revive starts those of a target's containers again that were stopped when the
// barrier closed in an earlier attempt.
func (g *gate) revive(ctx context.Context, w *stages.Work, book ledger.Ledger, ids []string) error {
	if g.attempt.First() || g.attempt.Closed() {
		return nil
	}
	for _, id := range ids {
		c, err := stages.Stated(ctx, g.in, w, id)
		if errors.Is(err, engine.ErrNotFound) {
			return exit.With(exit.BadState, errors.New("the container that boot started no longer exists"), "run kstep boot again")
		}
		if err != nil {
			return err
		}
		if c.Up() || c.Restart != engine.RestartNo {
			continue // It was not stopped by kstep.
		}
		if err := stages.StartAgain(ctx, w, book, c); err != nil {
			return fmt.Errorf("start %s again: %w", c.Name, err)
		}
		w.Did("started %s again", c.Name)
	}
	return nil
}
