// Package barrierwait is the stage that waits for the new containers to be
// ready, and decides for the whole release: enough primary containers are
// ready and the barrier opens, or they never will be, and all new containers
// are stopped again while the old version keeps serving (S2).
package barrierwait

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `barrier-wait`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "barrier-wait",
		Summary: "wait until the new containers are ready, or stop them all",
		Reads:   []string{"boot"},
		Hosts:   true,
		Enough:  true,
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	boot, err := state.Outputs[state.BootOutputs](in.Upstream, "boot")
	if err != nil {
		return stages.Result{}, err
	}
	g, err := newGate(ctx, in, boot)
	if err != nil {
		return stages.Result{}, err
	}
	listening, stop := context.WithCancel(ctx)
	var listener sync.WaitGroup
	listener.Go(func() { g.listen(listening) })
	records, results, err := stages.Each(ctx, in, g.watched(), g.wait)
	stop()
	listener.Wait()
	records, results = own(in.Targets, records, results)
	outputs := state.BarrierWaitOutputs{Verdict: g.verdict, Targets: results}
	if ctx.Err() != nil {
		return stages.Result{Targets: records, Outputs: outputs}, err
	}
	if g.err != nil {
		return stages.Result{Targets: records, Outputs: outputs}, g.err
	}
	if !g.over() { // No verdict, and so nothing to act upon.
		return stages.Result{Targets: records, Outputs: outputs}, err
	}
	if g.verdict.Open {
		if err != nil {
			err = exit.Hint(errors.Join(err, stopSick(ctx, in, records, results)),
				"the barrier is open: what is ready goes on, in kstep deploy by itself, else with kstep cutover --resume; "+g.rest())
		}
		return stages.Result{Targets: records, Outputs: outputs, Changed: g.decided}, err
	}
	closed := fmt.Errorf("barrier closed: %s", g.verdict.Reason)
	if g.decided {
		stopOthers(ctx, in, boot)
	}
	err = exit.With(exit.BarrierClosed, errors.Join(closed, stopAll(ctx, in, boot)),
		append(slices.Compact(g.hints), stages.OldVersion(g.books...)+"; correct the cause, and run the same command again")...)
	return stages.Result{Targets: records, Outputs: outputs, Changed: true}, err
}

// rest says what users have where the new version is not ready.
func (g *gate) rest() string {
	if g.first() {
		return "the rest serves nothing yet; correct the cause, and kstep deploy brings it up"
	}
	return "the rest keeps the old version"
}

// wait waits for one target's containers, counts them as one, and then for the
// verdict.
func (g *gate) wait(ctx context.Context, w *stages.Work) (state.BarrierTarget, error) {
	booted, ok := g.boot.Targets[w.Target.Key()]
	if !ok {
		return state.BarrierTarget{}, exit.With(exit.MissingState, errors.New("boot has not started it"),
			fmt.Sprintf("run kstep boot --roles %s --hosts %s", w.Target.Role.Name, w.Target.Host))
	}
	var stated error
	var looking sync.WaitGroup
	looking.Go(func() { stated = stages.AllStated(ctx, g.in, w, booted.IDs()) })
	book, err := w.Guarded(ctx)
	looking.Wait()
	if err = cmp.Or(err, stated); err != nil {
		return state.BarrierTarget{}, err
	}
	g.mu.Lock()
	g.books = append(g.books, book)
	g.mu.Unlock()
	out := state.BarrierTarget{Containers: booted.IDs()}
	w.Containers = booted.IDs()
	if booted.Waiting {
		return out, g.follow(ctx)
	}
	if booted.Sick == "" {
		if err := g.revive(ctx, w, book, booted.IDs()); err != nil {
			return out, err
		}
	}
	how, err := g.judge(ctx, w, booted, &out)
	if w.Target.Primary {
		g.tally(ctx, w, err)
	}
	if err != nil {
		return out, err
	}
	out.Ready, out.How = true, how
	return out, g.follow(ctx)
}

// judge finds out whether a target's containers are ready.
func (g *gate) judge(ctx context.Context, w *stages.Work, booted state.BootTarget, out *state.BarrierTarget) (string, error) {
	if booted.Sick != "" {
		return "", exit.Hint(fmt.Errorf("it cannot start: %s", booted.Sick), "correct the cause and run kstep boot again")
	}
	if !booted.Whole() {
		return "", exit.Hint(errors.New("boot failed before it had started all of its containers"), "run kstep boot again")
	}
	how, err := g.known(ctx, w, booted)
	if how != "" || err != nil {
		out.Restarts = g.before.Targets[w.Target.Key()].Restarts
		return how, err
	}
	return g.ready(ctx, w, booted, out)
}

// known spares containers that an earlier run found ready the wait: they only
// have to be running still. An empty answer means that they are to be waited
// for.
func (g *gate) known(ctx context.Context, w *stages.Work, booted state.BootTarget) (how string, err error) {
	before, ok := g.before.Targets[w.Target.Key()]
	if !ok || !before.Ready || !slices.Equal(before.Containers, booted.IDs()) {
		return "", nil
	}
	for _, r := range booted.Replicas {
		c, err := stages.Stated(ctx, g.in, w, r.Container)
		if err != nil || !c.Running() {
			return "", err
		}
	}
	return before.How, nil
}

// ready waits for the containers until all are ready, one never will be, the
// deadline passes, or the barrier closes.
func (g *gate) ready(ctx context.Context, w *stages.Work, booted state.BootTarget, out *state.BarrierTarget) (string, error) {
	timeout := g.in.Config.Barrier.Timeout.D()
	timed, cancel := context.WithTimeoutCause(ctx, timeout,
		exit.Errorf(exit.Deadline, "not ready within %s", timeout))
	defer cancel()
	waiting, stop := context.WithCancelCause(timed)
	defer stop(nil)
	go func() {
		select {
		case <-g.settled:
			if !g.verdict.Open {
				stop(stages.ErrHalted)
			}
		case <-waiting.Done():
		}
	}()
	began := time.Now()
	hows, errs := make([]string, len(booted.Replicas)), make([]error, len(booted.Replicas))
	first := make([]engine.Container, len(booted.Replicas))
	var all sync.WaitGroup
	for i, r := range booted.Replicas {
		all.Go(func() {
			if hows[i], errs[i] = g.one(waiting, w, r, &first[i]); errs[i] != nil {
				stop(stages.ErrHalted) // The others cannot help it any more.
			}
		})
	}
	all.Wait()
	out.Took = time.Since(began).Milliseconds()
	for _, c := range first {
		if c.Restarts > 0 {
			if out.Restarts == nil {
				out.Restarts = map[string]int{}
			}
			out.Restarts[c.ID] = c.Restarts
		}
	}
	for i, err := range errs {
		if err != nil && ctx.Err() == nil && !errors.Is(err, stages.ErrHalted) {
			w.Evidence(ready.Diagnose(ctx, w.Host, booted.Replicas[i].Container)...)
		}
	}
	return hows[0], blame(booted.Replicas, errs)
}

// one waits for one container, and leaves how it was before that in first.
func (g *gate) one(ctx context.Context, w *stages.Work, r state.BootReplica, first *engine.Container) (string, error) {
	began := time.Now()
	check := stages.Ready(g.in, w, r.Container)
	check.Cord = g.boot.Switch == "cord" && w.Target.Proxied
	check.Proven = r.Retained
	check.Seen = func(c engine.Container) { *first = c }
	check.Notice = func(text string) { g.notice(w.Target.Role.Name + ": " + text) }
	how, err := check.Wait(ctx)
	if err == nil {
		w.Say("%s ready by %s after %s", r.Name, how, time.Since(began).Round(time.Millisecond))
		return how, nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return how, err
}

// notice reports something about a role once, however many of its containers it
// is true of.
func (g *gate) notice(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Contains(g.noticed, text) {
		return
	}
	g.noticed = append(g.noticed, text)
	g.in.Report.Emit(report.Event{Kind: report.Notice, Message: text})
}

// blame is what the containers lack that are to blame, by name where there are
// several: one that only stopped waiting for them is not.
func blame(replicas []state.BootReplica, errs []error) (sick error) {
	var halted error
	for i, err := range errs {
		switch {
		case err == nil:
			continue
		case errors.Is(err, stages.ErrHalted):
			halted = err
			continue
		case len(replicas) > 1:
			err = fmt.Errorf("%s: %w", replicas[i].Name, err)
		}
		if sick == nil {
			sick = err
		} else {
			sick = fmt.Errorf("%w; %w", sick, err)
		}
	}
	return cmp.Or(sick, halted)
}

// reason is why a primary container is not ready.
type reason struct{ target, why string }

// listed returns each reason once, with all targets that have it.
func listed(reasons []reason) string {
	targets := map[string][]string{}
	for _, r := range reasons {
		targets[r.why] = append(targets[r.why], r.target)
	}
	var parts []string
	for why, keys := range targets {
		slices.Sort(keys)
		parts = append(parts, strings.Join(keys, ", ")+": "+why)
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}
