package boot

import (
	"context"
	"errors"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	from, err := read(in)
	if err != nil {
		return stages.Forecast{}, err
	}
	hosts, _, err := stages.ForeseeHosts(ctx, in, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if err := foreseeHost(ctx, in, w); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, stages.ForeseeTasks(ctx, in, w, config.BeforeBoot)
	})
	targets, results, targetErr := stages.Foresee(ctx, in, in.Targets, func(_ context.Context, w *stages.Work) (state.BootTarget, error) {
		return foresee(in, w, from, ahead)
	})
	return stages.Forecast{
		Pending: append(hosts, targets...),
		Outputs: state.BootOutputs{Switch: in.Config.Proxy.Switch, Targets: results},
	}, errors.Join(err, targetErr)
}

// foreseeHost is prepare without the act.
func foreseeHost(ctx context.Context, in stages.Input, w *stages.Work) error {
	if _, err := w.Guarded(ctx); err != nil {
		return err
	}
	if !proxied(in, w) {
		have, err := w.Host.Engine().Networks(ctx, plan.Network)
		if err == nil && len(have) == 0 {
			w.Intend(making())
		}
		return err
	}
	seen, err := proxy.Look(ctx, w.Host, in.Config)
	if err != nil {
		return err
	}
	if seen.NoImage {
		w.Intend(stages.To(stages.Pull, "%s", in.Config.Proxy.Image))
	}
	if seen.Missing || !seen.Container.Running() {
		w.Intend(starting(plan.ProxyContainer))
	}
	if !seen.Missing {
		return follows(in, w, seen.Container)
	}
	return nil
}

// foresee is target without the act.
func foresee(in stages.Input, w *stages.Work, from inputs, ahead *stages.Outlook) (state.BootTarget, error) {
	want := from.container(in, w)
	host := w.Target.Host
	all := ahead.Containers(host, nil)
	at := slices.IndexFunc(all, func(c engine.Container) bool { return c.Name == want.Spec.Name })
	var have engine.Container
	if at >= 0 {
		have = all[at]
	}
	todo, err := decide(w, want, have, at >= 0, from.push.Retained)
	if err != nil {
		return todo.out, err
	}
	if todo.rename {
		w.Intend(renaming(have, todo.out))
		ahead.Rename(host, have.ID, todo.out.Replaced)
	}
	if todo.create {
		w.Intend(creating(want.Spec.Name))
		todo.out.Container = ahead.Create(host, want.Spec)
	}
	if todo.start {
		w.Intend(starting(want.Spec.Name))
		ahead.Start(host, todo.out.Container)
	}
	return todo.out, nil
}
