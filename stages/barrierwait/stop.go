package barrierwait

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// stopAll takes the stage's new containers down after the barrier closed. A
// container that already serves is left alone: it is the old version.
func stopAll(ctx context.Context, in stages.Input, boot state.BootOutputs) error {
	_, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, stages.StopNew(ctx, in, w, boot.Targets[w.Target.Key()].IDs())
	})
	return err
}

// stopOthers takes down, for the jobs of the other shards, what they booted:
// some may be over, or never begin. The job that makes the verdict does it as far
// as it can; a shard that comes later finds the verdict and does its own part.
func stopOthers(ctx context.Context, in stages.Input, boot state.BootOutputs) {
	others := slices.DeleteFunc(slices.Clone(in.All), func(t plan.Target) bool {
		return slices.ContainsFunc(in.Targets, func(own plan.Target) bool { return own.Key() == t.Key() })
	})
	_, _, err := stages.Each(ctx, in, others, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if booted := boot.Targets[w.Target.Key()]; booted.Whole() {
			return struct{}{}, stages.StopNew(ctx, in, w, booted.IDs())
		}
		return struct{}{}, stages.StopBooted(ctx, in, w)
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
		return struct{}{}, stages.StopNew(ctx, in, w, results[w.Target.Key()].Containers)
	})
	return err
}
