package cutover

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// survived looks at all of a host's new containers before the first one gets
// traffic anywhere: one that was ready and has crashed since is stopped, and
// what served before keeps serving, which kept says. What an earlier run of the
// stage moved is left alone. It returns how often the new containers have
// restarted.
func survived(ctx context.Context, in stages.Input, w *stages.Work, from inputs, kept string) (map[string]int, error) {
	done, err := state.OwnOutputs[state.CutoverOutputs](in.Own)
	if err != nil {
		return nil, err
	}
	var errs []error
	restarts := map[string]int{}
	for _, t := range in.Targets {
		was := from.waited.Targets[t.Key()]
		if t.Host == w.Target.Host && was.Ready && !done.Targets[t.Key()].Done {
			for _, id := range from.boot.Targets[t.Key()].IDs() {
				c, err := up(ctx, in, w, t, id, was.Restarts[id], kept)
				restarts[id], errs = c.Restarts, append(errs, err)
			}
		}
	}
	return restarts, errors.Join(errs...)
}

func up(ctx context.Context, in stages.Input, w *stages.Work, t plan.Target, id string, restarts int, kept string) (engine.Container, error) {
	c, crashed, err := look(ctx, in, w, t, id, restarts, kept)
	if err != nil || crashed == nil {
		return c, err
	}
	w.Evidence(ready.Diagnose(ctx, w.Host, c.ID)...)
	return c, errors.Join(crashed, stages.StopUnserved(ctx, in, w.Of(t), []engine.Container{c}))
}

// look reports whether a container crashed after it was ready: it had restarted this
// often before that.
func look(ctx context.Context, in stages.Input, w *stages.Work, t plan.Target, id string, restarts int, kept string) (c engine.Container, crashed, err error) {
	c, err = stages.Stated(ctx, in, &stages.Work{Host: w.Host, Target: t, Names: w.Names}, id)
	if errors.Is(err, engine.ErrNotFound) {
		return c, nil, exit.With(exit.BadState, errors.New("the container that boot started no longer exists"), "run kstep boot again")
	}
	if err != nil || (c.Running() && c.Restarts <= restarts) {
		return c, nil, err
	}
	serving, err := stages.Serving(ctx, in, &stages.Work{Host: w.Host, Target: t, Names: w.Names}, c)
	if err != nil || serving { // Moved by a run that was killed before it could note it.
		return c, nil, err
	}
	if err := notClosed(ctx, in, kept); err != nil { // Nothing crashed: the release was aborted.
		return c, nil, err
	}
	crashed = fmt.Errorf("%s crashed after it was ready (%s, restarts %d): %s", c.Name, c.State, c.Restarts, kept)
	return c, exit.Hint(crashed, stages.LogsHint(t, c)), nil
}
