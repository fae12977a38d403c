package barrierwait

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// stopAll takes the stage's new containers down after the barrier closed. A
// container that already serves is left alone: it is the old version.
func stopAll(ctx context.Context, in stages.Input, boot state.BootOutputs) error {
	_, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, stop(ctx, in, w, boot.Targets[w.Target.Key()].Container)
	})
	return err
}

// stopSick takes down the containers that failed although the barrier opened.
func stopSick(ctx context.Context, in stages.Input, records []state.Target, results map[string]state.BarrierTarget) error {
	var sick []plan.Target
	for i, t := range in.Targets {
		if records[i].Status == state.Failed {
			sick = append(sick, t)
		}
	}
	_, _, err := stages.Each(ctx, in, sick, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, stop(ctx, in, w, results[w.Target.Key()].Container)
	})
	return err
}

func stop(ctx context.Context, in stages.Input, w *stages.Work, id string) error {
	c, err := w.Host.Engine().Inspect(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	serving, err := stages.Serving(ctx, in, w, c)
	if err != nil {
		return err
	}
	if serving || c.State == "exited" || c.State == "created" {
		return nil
	}
	grace := in.Config.EffectiveStop(w.Target.Role)
	if err := w.Host.Engine().Stop(ctx, c.ID, engine.Stop{Signal: grace.Signal, Timeout: grace.Timeout.D()}); err != nil {
		return fmt.Errorf("new container %s: %w", c.Name, err)
	}
	w.Did("stopped %s", c.Name)
	return nil
}
