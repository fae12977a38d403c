package prune

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// last is the look at what the release put into service, before anything is
// removed that it replaced.
type last struct {
	moved state.CutoverOutputs
	// reported are the restarts that an earlier run of this stage reported.
	reported map[string]int
	// over is true if an earlier run ended the release: later changes to its
	// containers do not concern the deploy.
	over bool
}

// now is what a host is like.
type now struct {
	seen     seen
	restarts map[string]int // Of the containers in service, by id.
	died     bool
}

func newLast(in stages.Input) (*last, error) {
	l := &last{reported: map[string]int{}, over: in.Own != nil && in.Own.Status.Done()}
	var err error
	if l.moved, err = state.Outputs[state.CutoverOutputs](in.Upstream, "cutover"); err != nil {
		return nil, err
	}
	own, err := state.OwnOutputs[state.PruneOutputs](in.Own)
	for _, host := range own.Hosts {
		maps.Copy(l.reported, host.Restarts)
	}
	return l, err
}

// look observes the host, and at the same time the containers in service, once
// those without traffic have settled.
func (l *last) look(ctx context.Context, in stages.Input, w *stages.Work) (now, error) {
	var n now
	if err := l.settled(ctx, in, w); err != nil {
		return n, err
	}
	var listed, failed, died error
	var wg sync.WaitGroup
	wg.Go(func() { n.restarts, died = l.lasting(ctx, in, w) })
	var all []engine.Container
	wg.Go(func() { all, listed = w.Host.Engine().Containers(ctx, engine.Filter{All: true}) })
	n.seen, failed = look(ctx, in, w)
	wg.Wait()
	n.seen.all = all
	n.died = exit.CodeOf(died) == exit.Failed && ctx.Err() == nil
	return n, errors.Join(failed, listed, died)
}

// settled waits for the containers of the host's roles without traffic: those with
// traffic have answered requests.
func (l *last) settled(ctx context.Context, in stages.Input, w *stages.Work) error {
	var wg sync.WaitGroup
	errs := make([]error, len(in.Targets))
	for i, t := range l.served(in, w) {
		if !t.Proxied {
			wg.Go(func() {
				errs[i] = stages.Outlast(ctx, in, w.Of(t), l.moved.Targets[t.Key()].Containers, l.before(t))
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// served are the host's targets whose containers are in service by this release.
func (l *last) served(in stages.Input, w *stages.Work) []plan.Target {
	if l.over {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool {
		return t.Host != w.Target.Host || !l.moved.Targets[t.Key()].Done
	})
}

// before is how often the target's containers had restarted, as far as it was
// reported. A file of an earlier kstep has none.
func (l *last) before(t plan.Target) map[string]int {
	before := maps.Clone(l.moved.Targets[t.Key()].Restarts)
	for id, count := range before {
		before[id] = max(count, l.reported[id])
	}
	return before
}

// lasting looks at the containers of all the host's roles.
func (l *last) lasting(ctx context.Context, in stages.Input, w *stages.Work) (map[string]int, error) {
	all := map[string]int{}
	var errs []error
	for _, t := range l.served(in, w) {
		counts, err := stages.Lasting(ctx, in, w.Of(t), l.moved.Targets[t.Key()].Containers, l.before(t))
		maps.Copy(all, counts)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

func (l *last) died(found map[string]now) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(found)), func(n now) bool { return n.died })
}

// outputs are the restarts that are reported now; the next run reports only
// those that come after.
func (l *last) outputs(found map[string]now) state.PruneOutputs {
	out := state.PruneOutputs{Hosts: map[string]state.Pruned{}}
	for host, n := range found {
		out.Hosts[host] = state.Pruned{Restarts: n.restarts}
	}
	return out
}

// reached are the targets on the hosts that were observed.
func reached(targets []plan.Target, looked []state.Target) []plan.Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t plan.Target) bool {
		return slices.ContainsFunc(looked, func(l state.Target) bool { return l.Host == t.Host && !l.Status.Done() })
	})
}
