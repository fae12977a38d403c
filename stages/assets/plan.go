package assets

import (
	"context"
	"errors"

	"github.com/kstep/kstep/internal/delivery"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	push, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if err != nil {
		return stages.Forecast{}, err
	}
	hosts, _, err := stages.ForeseeHosts(ctx, in, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, foreseeImage(ctx, in, w, push)
	})
	targets, results, bridgeErr := stages.Foresee(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.AssetsTarget, error) {
		return foreseeBridge(ctx, in, w, push, ahead)
	})
	return stages.Forecast{
		Pending: append(hosts, targets...),
		Outputs: state.AssetsOutputs{Targets: results},
	}, errors.Join(err, bridgeErr)
}

func foreseeImage(ctx context.Context, in stages.Input, w *stages.Work, push state.PushOutputs) error {
	if _, err := w.Guarded(ctx); err != nil {
		return err
	}
	have, missing, err := look(ctx, w, push)
	if err != nil {
		return err
	}
	tag := tagOf(in, push)
	if !have.Tagged(tag) {
		if err := w.RunsOneOf(ctx, platforms(push)); err != nil {
			return err
		}
	}
	if missing && push.Direct && push.Known() && push.Archive == "" {
		return delivery.Missing(push, w.Target.Host)
	}
	if missing {
		w.Intend(pulling(in, push))
	} else if err := same(have, push); err != nil {
		return err
	}
	if !have.Tagged(tag) {
		w.Intend(tagging(tag))
	}
	return nil
}

func foreseeBridge(ctx context.Context, in stages.Input, w *stages.Work, push state.PushOutputs, ahead *stages.Outlook) (state.AssetsTarget, error) {
	b, ok := stages.AssetFolders(in, w, push)
	if !ok {
		return state.AssetsTarget{}, nil
	}
	b.Containers = ahead.Containers(w.Target.Host, nil)
	todo, err := b.Look(ctx, servedBefore(in, w, b.Containers))
	if todo.Extracts() {
		for _, c := range ahead.Containers(w.Target.Host, b.Labels) {
			if c.Name == b.Helper {
				ahead.Remove(w.Target.Host, c.ID)
			}
		}
	}
	for _, step := range todo.Steps() {
		w.Intend(act(step))
	}
	return state.AssetsTarget{Volumes: b.Volumes()}, err
}
