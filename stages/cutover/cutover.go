// Package cutover is the stage that moves the traffic: to the new container,
// confirmed by the proxy; away from the old ones, confirmed by the proxy;
// drain; stop the old ones. A bounded probe through the proxy counts what users
// would have felt.
package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `cutover`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "cutover",
		Summary: "move the traffic to the new containers and stop the old ones",
		Reads:   []string{"push", "boot", "barrier-wait"},
		Hosts:   true,
		Moves:   true,
	}
}

type inputs struct {
	push   state.PushOutputs
	boot   state.BootOutputs
	waited state.BarrierWaitOutputs
}

// read takes the outputs of the stages before.
func read(in stages.Input) (from inputs, err error) {
	if from.push, err = state.Outputs[state.PushOutputs](in.Upstream, "push"); err != nil {
		return from, err
	}
	if from.boot, err = state.Outputs[state.BootOutputs](in.Upstream, "boot"); err != nil {
		return from, err
	}
	from.waited, err = state.Outputs[state.BarrierWaitOutputs](in.Upstream, "barrier-wait")
	return from, err
}

// booted is the target's new container, which must have been ready.
func (from inputs) booted(key string) (id string, err error) {
	booted, ok := from.boot.Targets[key]
	if !ok {
		return "", exit.With(exit.MissingState, errors.New("boot has not started it"), "run kstep boot for it")
	}
	if !booted.Waiting && !from.waited.Targets[key].Ready {
		return "", errors.New("was not ready at the barrier: the old version serves on here")
	}
	return booted.Container, nil
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	from, err := read(in)
	if err != nil {
		return stages.Result{}, err
	}
	guards, _, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if _, err := w.Guarded(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, survived(ctx, in, w, from.waited)
	})
	if err != nil {
		// Nothing has moved anywhere: only what failed is worth a record.
		failed := slices.DeleteFunc(guards, func(t state.Target) bool { return t.Status.Done() })
		return stages.Result{Targets: failed}, err
	}
	limits := in.Config.Cutover
	records, results, err := stages.Waves(ctx, in, limits.Limit, limits.Wait.D(),
		func(ctx context.Context, w *stages.Work) (state.CutoverTarget, error) {
			id, err := from.booted(w.Target.Key())
			if err != nil {
				return state.CutoverTarget{}, err
			}
			return target(ctx, in, w, id)
		})
	noted, _, noteErr := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, note(ctx, in, w, from.push, results)
	})
	records = stages.Merge(noted, records)
	if err = errors.Join(err, noteErr); err == nil {
		records, err = stages.TasksAfterCutover(ctx, in, records)
	}
	return stages.Result{Targets: records, Outputs: state.CutoverOutputs{Targets: results}}, err
}

// target moves one role on one host.
func target(ctx context.Context, in stages.Input, w *stages.Work, id string) (state.CutoverTarget, error) {
	out := state.CutoverTarget{Container: id}
	w.Container = id
	containers, err := w.Host.Engine().Containers(ctx, engine.Filter{
		Labels: stages.RoleLabels(in.Config, w.Target.Role.Name), All: true,
	})
	if err != nil {
		return out, err
	}
	fresh, old, err := split(containers, id)
	if err != nil {
		return out, err
	}
	m := &move{in: in, w: w, fresh: fresh, old: old, out: &out}
	if w.Target.Proxied {
		err = m.proxied(ctx)
	} else {
		err = m.plain(ctx)
	}
	return out, err
}

// split finds the new container, and the old ones that are up.
func split(containers []engine.Container, id string) (fresh engine.Container, old []engine.Container, err error) {
	at := slices.IndexFunc(containers, func(c engine.Container) bool { return c.ID == id })
	if at < 0 {
		return fresh, nil, exit.With(exit.BadState, errors.New("the container that boot started is gone"), "run kstep boot again")
	}
	for i, c := range containers {
		if i != at && stages.Up(c) {
			old = append(old, c)
		}
	}
	return containers[at], old, nil
}

// move is the change of one role on one host from old containers to a fresh
// one.
type move struct {
	in    stages.Input
	w     *stages.Work
	fresh engine.Container
	old   []engine.Container
	out   *state.CutoverTarget
}

// stop asks the old containers to end, with the signal and grace they were
// made with, all at once.
func (m *move) stop(ctx context.Context) error {
	errs := make(chan error, len(m.old))
	for _, c := range m.old {
		go func() {
			err := m.w.Host.Engine().Stop(ctx, c.ID, engine.Stop{})
			if err != nil {
				err = fmt.Errorf("old container %s: %w", c.Name, err)
			}
			errs <- err
		}()
	}
	var failed []error
	for range m.old {
		failed = append(failed, <-errs)
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, c := range m.old {
		m.out.Stopped = append(m.out.Stopped, c.ID)
		m.w.Made(stopping(c))
	}
	return nil
}

// note writes into the host's ledger what is live now, and moves the tag
// `latest` to the image.
func note(ctx context.Context, in stages.Input, w *stages.Work, push state.PushOutputs, results map[string]state.CutoverTarget) error {
	live := map[string]string{}
	for _, t := range in.Targets {
		if r := results[t.Key()]; t.Host == w.Target.Host && r.Done {
			live[t.Role.Name] = r.Container
		}
	}
	if len(live) == 0 {
		return nil
	}
	var overtaken error
	err := w.Note(ctx, func(book *ledger.Ledger) bool {
		if overtaken = book.Guard(w.Target.Host, in.Release); overtaken != nil {
			return false
		}
		return book.Note(ledger.Release{
			ID: in.Release, Version: in.Version, Image: push.Reference(), Tag: push.Repository + ":" + in.Version,
			By: in.By, At: time.Now().UTC(), Live: live,
		})
	})
	if err := errors.Join(err, overtaken); err != nil {
		return err
	}
	latest := push.Repository + ":" + stages.LatestTag(in.Config)
	image, err := w.Host.Engine().Image(ctx, push.Reference())
	if err != nil {
		return err
	}
	if image.Tagged(latest) {
		return nil
	}
	if err := w.Host.Engine().Tag(ctx, push.Reference(), latest); err != nil {
		return err
	}
	return nil
}
