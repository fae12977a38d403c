package prune

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	push, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if err != nil {
		return stages.Forecast{}, err
	}
	moved, err := state.Outputs[state.CutoverOutputs](in.Upstream, "cutover")
	if err != nil {
		return stages.Forecast{}, err
	}
	hosts, _, err := stages.ForeseeHosts(ctx, in, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, foresee(ctx, in, w, push, moved, ahead)
	})
	return stages.Forecast{Pending: hosts}, err
}

func foresee(ctx context.Context, in stages.Input, w *stages.Work, push state.PushOutputs, moved state.CutoverOutputs, ahead *stages.Outlook) error {
	seen, err := look(ctx, in, w)
	if err != nil {
		return err
	}
	host := w.Target.Host
	seen.all = ahead.Containers(host, nil)
	live := map[string][]string{}
	for _, t := range in.Targets {
		if now := moved.Targets[t.Key()]; t.Host == host && now.Done {
			live[t.Role.Name] = now.Containers
		}
	}
	seen.book.Note(ledger.Release{ // As assets and cutover will have done.
		ID: in.Release, Version: in.Version, Image: push.Reference(), Tag: push.Repository + ":" + in.Version,
		GoesBack: push.GoesBack, Live: live,
	})
	todo := decide(in, seen)
	if todo.images, err = w.ImagesNamed(ctx, todo.images); err != nil {
		return err
	}
	for _, c := range todo.containers {
		w.Intend(removing("container", c.Name))
		ahead.Remove(host, c.ID)
	}
	for _, ref := range todo.images {
		w.Intend(stages.RemoveImage(ref))
	}
	dangling, err := w.Host.Engine().Images(ctx, engine.Filter{
		Labels: map[string]string{engine.LabelService: in.Config.Service}, Dangling: true,
	})
	if err != nil {
		return err
	}
	for _, image := range dangling {
		if !slices.ContainsFunc(ahead.Containers(host, nil), func(c engine.Container) bool { return c.ImageID == image.ID }) {
			w.Intend(removing("dangling image", image.ID))
		}
	}
	for _, folder := range todo.folders {
		w.Intend(removing("", inRun(w, folder)))
	}
	if forget(&seen.book, todo.gone) {
		ahead.Forget(host, seen.book)
	}
	if err := foreseeSweep(ctx, in, w); err != nil {
		return err
	}
	restartable, err := stages.Restartable(ctx, w, todo.stopped)
	if err != nil {
		return err
	}
	for _, c := range restartable {
		w.Intend(stages.NoRestart(c))
	}
	if host != plan.LeaseHost(in.All) || !w.Intends() {
		return nil
	}
	gone, err := w.Unmirrored(ctx, todo.releases...)
	for _, release := range gone {
		w.Intend(removing("the copy of the state of release", release))
	}
	return err
}
