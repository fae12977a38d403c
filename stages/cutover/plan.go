package cutover

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	from, err := read(in)
	if err != nil {
		return stages.Forecast{}, err
	}
	done, err := state.OwnOutputs[state.CutoverOutputs](in.Own)
	if err != nil {
		return stages.Forecast{}, err
	}
	var mu sync.Mutex
	var known []string
	targets, results, err := stages.Foresee(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.CutoverTarget, error) {
		key := w.Target.Key()
		book, err := w.Guarded(ctx)
		if err != nil {
			return state.CutoverTarget{}, err
		}
		ids, err := from.booted(key, book)
		if err != nil {
			return state.CutoverTarget{}, err
		}
		fresh, old, err := split(ahead.Containers(w.Target.Host, stages.RoleLabels(in.Config, w.Target.Role.Name)), ids)
		if err != nil {
			return state.CutoverTarget{}, err
		}
		orphans, err := stages.Orphans(ctx, in, w, ahead.Containers(w.Target.Host, nil), book)
		if err != nil {
			return state.CutoverTarget{}, err
		}
		m := &move{in: in, w: w, fresh: fresh, old: old, kept: stages.OldVersion(book)}
		m.inherit(share(in, w.Target, orphans))
		out := state.CutoverTarget{Containers: ids, Done: true}
		for _, id := range ids {
			if !from.waited.Targets[key].Ready || done.Targets[key].Done || ahead.Starts(w.Target.Host, id) {
				continue
			}
			_, crashed, err := look(ctx, in, w, w.Target, id, from.waited.Targets[key].Restarts[id], stages.OldVersion(book))
			if err = errors.Join(err, crashed); err != nil {
				return out, err
			}
		}
		err = m.foresee(ctx, ahead)
		m.foreseeLater(ahead)
		hosts, knownErr := w.KnownHosts(ctx, in, book)
		mu.Lock()
		defer mu.Unlock()
		known, err = append(known, hosts...), errors.Join(err, knownErr)
		m.foreseeSpared()
		return out, err
	})
	var accessories []stages.LeftAccessory
	hosts, _, tasksErr := stages.ForeseeHosts(ctx, in, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		left := w.LeftAccessories(in, ahead.Containers(w.Target.Host, nil))
		mu.Lock()
		accessories = append(accessories, left...)
		mu.Unlock()
		return struct{}{}, stages.ForeseeTasks(ctx, in, w, config.AfterCutover)
	})
	var left []string
	for _, host := range stages.LeftHosts(in, known) {
		left = append(left, stages.LeftHost(in.Config, host))
	}
	for _, one := range accessories {
		left = append(left, one.Describe(in.Config))
	}
	for _, note := range left {
		targets = append(targets, stages.Pending{Notes: []string{note}})
	}
	return stages.Forecast{
		Pending: append(targets, hosts...), Outputs: state.CutoverOutputs{Targets: results},
	}, errors.Join(err, tasksErr)
}

// foresee notes what proxied and plain would do.
func (m *move) foresee(ctx context.Context, ahead *stages.Outlook) error {
	var live []string
	if m.w.Target.Proxied {
		var current bool
		var err error
		if live, current, err = m.live(ctx); err != nil || m.settled(live) && current {
			return err
		}
	}
	if err := m.able(ctx); err != nil {
		return err
	}
	host := m.w.Target.Host
	if m.w.Target.Proxied {
		m.w.Intend(m.admitting(live))
		ahead.Route(m.w.Target, m.fresh, slices.DeleteFunc(slices.Concat(m.fresh, m.old), func(c engine.Container) bool {
			return !slices.Contains(live, c.ID)
		}))
		m.foreseeOrphans()
	}
	for _, c := range m.old {
		m.w.Intend(stopping(c))
		ahead.Stop(host, c.ID)
	}
	for _, c := range m.waiting() {
		m.w.Intend(starting(c))
		ahead.Start(host, c.ID)
	}
	return nil
}
