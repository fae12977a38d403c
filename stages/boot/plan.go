package boot

import (
	"context"
	"errors"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/network"
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
	hosts, books, err := stages.ForeseeHosts(ctx, in, func(ctx context.Context, w *stages.Work) (ledger.Ledger, error) {
		book, err := admissible(ctx, in, w)
		if err == nil {
			err = foreseeHost(ctx, in, w)
		}
		if err != nil {
			return book, err
		}
		return book, stages.ForeseeTasks(ctx, in, w, config.BeforeBoot)
	})
	from.books = books
	targets, results, targetErr := stages.Foresee(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.BootTarget, error) {
		return foresee(ctx, in, w, from, ahead)
	})
	return stages.Forecast{
		Pending: append(hosts, targets...),
		Outputs: state.BootOutputs{Switch: in.Config.Proxy.Switch, Targets: results},
	}, errors.Join(err, targetErr)
}

// foreseeHost is prepare without the act.
func foreseeHost(ctx context.Context, in stages.Input, w *stages.Work) error {
	networks, err := network.Look(ctx, w.Host, w.Names, needs(in, w))
	if err != nil {
		return err
	}
	if !proxied(in, w) {
		foreseeConnect(w, networks, engine.Container{})
		return nil
	}
	seen, err := proxy.Look(ctx, w.Host, in.Config)
	if err != nil {
		return err
	}
	front := seen.Container
	if seen.Missing {
		front = engine.Container{ID: plan.ProxyContainer}
		if front.Networks, err = proxy.Networks(ctx, w.Host); err != nil {
			return err
		}
	}
	if seen.NoImage {
		w.Intend(stages.To(stages.Pull, "%s", in.Config.Proxy.Image))
	}
	if seen.Missing || !seen.Container.Running() {
		w.Intend(starting(plan.ProxyContainer))
	}
	foreseeConnect(w, networks, front)
	if !seen.Missing {
		return errors.Join(proxy.Lacks(in.Config, w.Host, seen.Container), w.Routable(ctx, seen.Container), follows(in, w, seen.Container))
	}
	return nil
}

// foresee is target without the act.
func foresee(ctx context.Context, in stages.Input, w *stages.Work, from inputs, ahead *stages.Outlook) (state.BootTarget, error) {
	have := ahead.Containers(w.Target.Host, nil)
	out, all, err := from.decide(in, w, func(name string) (engine.Container, bool, error) {
		at := slices.IndexFunc(have, func(c engine.Container) bool { return c.Name == name })
		if at < 0 {
			return engine.Container{}, false, nil
		}
		if !have[at].Running() {
			return have[at], true, nil
		}
		now, err := w.Host.Engine().Inspect(ctx, have[at].ID) // A list does not show the restart policy.
		if errors.Is(err, engine.ErrNotFound) {
			return now, false, nil
		}
		have[at].Restart = now.Restart
		return have[at], true, err
	})
	if err != nil {
		return out, err
	}
	if want, checked := toCheck(all); checked {
		for _, c := range have {
			if c.Name == checkName(want) { // Left by a check that was killed; the next one removes it.
				ahead.Remove(w.Target.Host, c.ID)
			}
		}
	}
	for i, one := range all {
		out.Replicas[i] = foreseeReplica(in, w, one, ahead, have, from.books[w.Target.Host])
	}
	return out, nil
}

// described is the act with the settings in which the container differs from the
// one that it is to replace, and what reaches beyond it. Values may hold secrets that
// were interpolated.
func described(act stages.Act, in stages.Input, w *stages.Work, todo todo, present []engine.Container) stages.Act {
	if now, ok := predecessor(in, w, todo, present); ok {
		for _, line := range plan.Differs(now, todo.want) {
			act.Detail = append(act.Detail, in.Secrets.Redact(line))
		}
	}
	for _, text := range plan.Risks(todo.want.Spec, in.Config.EffectiveVolumes(w.Target.Role)) {
		act.Detail = append(act.Detail, "! "+in.Secrets.Redact(text))
	}
	return act
}

// predecessor is the container of the role that a new one takes the place of: the one
// of its name, or one that runs.
func predecessor(in stages.Input, w *stages.Work, todo todo, present []engine.Container) (engine.Container, bool) {
	if todo.rename {
		return todo.have, true
	}
	role := engine.With(present, stages.RoleLabels(in.Config, w.Target.Role.Name))
	at := slices.IndexFunc(role, engine.Container.Running)
	if at < 0 {
		return engine.Container{}, false
	}
	return role[at], true
}

// foreseeReplica is replica without the act.
func foreseeReplica(in stages.Input, w *stages.Work, todo todo, ahead *stages.Outlook, present []engine.Container, book ledger.Ledger) state.BootReplica {
	host, out := w.Target.Host, todo.out
	if policy := todo.restart(w, book); policy != "" {
		w.Intend(stages.SettingRestart(todo.have, policy))
	}
	for _, name := range todo.connect {
		w.Intend(connecting(todo.have.Name, name))
	}
	if todo.rename {
		w.Intend(renaming(todo.have, out))
		ahead.Rename(host, todo.have.ID, out.Replaced)
	}
	if todo.create {
		w.Intend(described(creating(out.Name), in, w, todo, present))
		out.Container = ahead.Create(host, todo.want.Spec)
	}
	if todo.start {
		w.Intend(starting(out.Name))
		ahead.Start(host, out.Container)
	}
	return out
}
