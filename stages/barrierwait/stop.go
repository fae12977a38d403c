package barrierwait

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// stopAll takes the stage's new containers down after the barrier closed. A
// container that already serves is left alone: it is the old version.
func stopAll(ctx context.Context, in stages.Input, boot state.BootOutputs) error {
	_, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, stop(ctx, in, w, boot.Targets[w.Target.Key()].IDs())
	})
	return err
}

// stopOthers takes down, for the jobs of the other shards, what they booted:
// some may be over, or never begin. Whoever makes the verdict does it as far as
// it can; a shard that comes later finds the verdict and does its own part.
func stopOthers(ctx context.Context, in stages.Input, boot state.BootOutputs) {
	others := slices.DeleteFunc(slices.Clone(in.All), func(t plan.Target) bool {
		return slices.ContainsFunc(in.Targets, func(own plan.Target) bool { return own.Key() == t.Key() })
	})
	_, _, err := stages.Each(ctx, in, others, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if booted := boot.Targets[w.Target.Key()]; booted.Whole() {
			return struct{}{}, stop(ctx, in, w, booted.IDs())
		}
		labels := stages.RoleLabels(in.Config, w.Target.Role.Name)
		labels[engine.LabelRelease] = in.Release
		made, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: labels})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, stop(ctx, in, w, engine.IDs(made))
	})
	if err != nil {
		in.Warn("the barrier closed, but not everything that other jobs booted was stopped (their kstep barrier-wait will): %s", err)
	}
}

// stopSick takes down the containers that failed although the barrier opened.
// One whose host does not answer may be fine: it is left alone.
func stopSick(ctx context.Context, in stages.Input, records []state.Target, results map[string]state.BarrierTarget) error {
	var sick []plan.Target
	for i, t := range in.Targets {
		if e := records[i].Error; records[i].Status == state.Failed && e != nil && e.Class != exit.Unreachable.Class() {
			sick = append(sick, t)
		}
	}
	_, _, err := stages.Each(ctx, in, sick, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, stop(ctx, in, w, results[w.Target.Key()].Containers)
	})
	return err
}

// stop takes down those of the containers that do not serve. One that has ended
// by itself must not come back either.
func stop(ctx context.Context, in stages.Input, w *stages.Work, ids []string) error {
	var down []engine.Container
	for _, id := range ids {
		c, err := w.Host.Engine().Inspect(ctx, id)
		if errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		serving, err := stages.Serving(ctx, in, w, c)
		if err != nil {
			return err
		}
		if !serving && c.State != "created" && (c.State != "exited" || c.Restart != engine.RestartNo) {
			down = append(down, c)
		}
	}
	grace := in.Config.EffectiveStop(w.Target.Role)
	err := stages.StopAndKeep(ctx, w, down, engine.Stop{Signal: grace.Signal, Timeout: grace.Timeout.D()})
	if err != nil {
		return fmt.Errorf("new container %w", err)
	}
	for _, c := range down {
		if c.State != "exited" {
			w.Did("stopped %s", c.Name)
		}
	}
	return nil
}
