// Package barrierwait is the stage that waits for the new containers to be
// ready, and decides for the whole release: enough primary containers are
// ready and the barrier opens, or they never will be, and all new containers
// are stopped again while the old version serves on (S2).
package barrierwait

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `barrier-wait`.
type Stage struct{}

var _ stages.Stage = Stage{}

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
	records, results, err := stages.Each(ctx, in, g.watched(), g.wait)
	records, results = own(in.Targets, records, results)
	outputs := state.BarrierWaitOutputs{Verdict: g.verdict, Targets: results}
	if ctx.Err() != nil {
		return stages.Result{Targets: records, Outputs: outputs}, err
	}
	if g.err != nil {
		return stages.Result{Targets: records, Outputs: outputs}, g.err
	}
	if g.verdict.Open {
		if err != nil {
			err = exit.Hint(errors.Join(err, stopSick(ctx, in, records, results)),
				"the barrier is open: kstep cutover --resume moves what is ready, and the rest keeps the old version")
		}
		return stages.Result{Targets: records, Outputs: outputs, Changed: g.decided}, err
	}
	closed := fmt.Errorf("barrier closed: %s", g.verdict.Reason)
	err = exit.With(exit.BarrierClosed, errors.Join(closed, stopAll(ctx, in, boot)),
		append(slices.Compact(g.hints), "the old version serves on; mend the cause and deploy again")...)
	return stages.Result{Targets: records, Outputs: outputs, Changed: true}, err
}

// gate counts the primary containers until the verdict is settled.
type gate struct {
	in   stages.Input
	boot state.BootOutputs
	// before is what an earlier run of this stage found.
	before state.BarrierWaitOutputs
	files  host.Files
	path   string

	mu      sync.Mutex
	count   barrier.Count
	verdict state.Verdict
	settled chan struct{} // Closed when verdict is final.
	decided bool          // This process made the verdict.
	reasons []reason
	hints   []string
	err     error
}

func newGate(ctx context.Context, in stages.Input, boot state.BootOutputs) (*gate, error) {
	h, err := in.Hosts.Get(ctx, plan.LeaseHost(in.All))
	if err != nil {
		return nil, err
	}
	names, err := stages.Names(ctx, in, h)
	if err != nil {
		return nil, err
	}
	g := &gate{in: in, boot: boot, files: h.Files(), path: names.Verdict(in.Release), settled: make(chan struct{})}
	if in.Own != nil && len(in.Own.Outputs) > 0 {
		if g.before, err = state.Outputs[state.BarrierWaitOutputs](state.NewSet(in.Own), in.Own.Stage); err != nil {
			return nil, err
		}
	}
	g.count = barrier.NewCount(in.Config.Barrier.Quorum, len(primary(in.All)))
	made, err := barrier.Find(ctx, g.files, g.path)
	if err != nil {
		return nil, err
	}
	if made != nil {
		g.verdict = *made
		close(g.settled)
	}
	return g, nil
}

// watched are the stage's own targets and, because the verdict needs them, the
// primary ones of other shards.
func (g *gate) watched() []plan.Target {
	targets := slices.Clone(g.in.Targets)
	for _, t := range primary(g.in.All) {
		if !slices.ContainsFunc(targets, func(own plan.Target) bool { return own.Key() == t.Key() }) {
			targets = append(targets, t)
		}
	}
	return targets
}

// wait waits for one container, counts it, and then for the verdict.
func (g *gate) wait(ctx context.Context, w *stages.Work) (state.BarrierTarget, error) {
	booted, ok := g.boot.Targets[w.Target.Key()]
	if !ok {
		return state.BarrierTarget{}, exit.With(exit.MissingState, errors.New("boot has not started it"),
			fmt.Sprintf("run kstep boot --roles %s --hosts %s", w.Target.Role.Name, w.Target.Host))
	}
	out := state.BarrierTarget{Container: booted.Container}
	w.Container = booted.Container
	if booted.Waiting {
		return out, g.follow(ctx)
	}
	how, err := g.known(ctx, w, booted)
	if how == "" && err == nil {
		how, err = g.ready(ctx, w, booted, &out)
	}
	if err != nil && ctx.Err() == nil {
		g.show(ctx, w, booted)
	}
	if w.Target.Primary {
		g.tally(ctx, w, err)
	}
	if err != nil {
		return out, err
	}
	out.Ready, out.How = true, how
	return out, g.follow(ctx)
}

// known spares a container that an earlier run found ready the wait: it only
// has to be running still. An empty answer means that it is to be waited for.
func (g *gate) known(ctx context.Context, w *stages.Work, booted state.BootTarget) (how string, err error) {
	before, ok := g.before.Targets[w.Target.Key()]
	if !ok || !before.Ready || before.Container != booted.Container {
		return "", nil
	}
	c, err := w.Host.Engine().Inspect(ctx, booted.Container)
	if err != nil {
		return "", err
	}
	if !c.Running() {
		return "", nil
	}
	return before.How, nil
}

// ready waits for the container until it is ready, the deadline passes, or the
// barrier closes.
func (g *gate) ready(ctx context.Context, w *stages.Work, booted state.BootTarget, out *state.BarrierTarget) (string, error) {
	timeout := g.in.Config.Barrier.Timeout.D()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		exit.Errorf(exit.Deadline, "not ready within %s", timeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-g.settled:
			if !g.verdict.Open {
				stop(errors.New("barrier closed"))
			}
		case <-ctx.Done():
		}
	}()
	began := time.Now()
	how, err := ready.Check{
		Host: w.Host, Container: booted.Container, Target: w.Target,
		Health: g.in.Config.EffectiveHealthcheck(w.Target.Role),
		Cord:   g.boot.Switch == "cord" && w.Target.Proxied,
	}.Wait(ctx)
	out.Took = time.Since(began).Milliseconds()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	if err == nil {
		w.Say("%s ready by %s after %s", booted.Name, how, time.Since(began).Round(time.Millisecond))
	}
	return how, err
}

// show lets a person read what a failed container had to say.
func (g *gate) show(ctx context.Context, w *stages.Work, booted state.BootTarget) {
	g.in.Report.Emit(report.Event{
		Kind: report.Notice, Host: w.Target.Host, Role: w.Target.Role.Name,
		Message: fmt.Sprintf("%s is not ready on %s:", booted.Name, w.Target.Host),
		Detail:  ready.Diagnose(ctx, w.Host, booted.Container),
	})
}

// reason is why a primary container is not ready.
type reason struct{ target, why string }

// tell says each reason once, with all targets that have it.
func tell(reasons []reason) string {
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

// tally counts a primary container, and makes the verdict when it is clear.
func (g *gate) tally(ctx context.Context, w *stages.Work, failed error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if failed == nil {
		g.count.Ready++
	} else {
		g.count.Sick++
		g.reasons = append(g.reasons, reason{w.Target.Key(), failed.Error()})
		g.hints = append(g.hints, exit.Hints(failed)...)
	}
	select {
	case <-g.settled:
		return
	default:
	}
	open, decided := g.count.Decided()
	if !decided || ctx.Err() != nil {
		return
	}
	g.verdict, g.err = barrier.Settle(ctx, g.files, g.path, state.Verdict{
		Release: g.in.Release, Open: open, Ready: g.count.Ready, Total: g.count.Total,
		Needed: g.count.Needed, Reason: tell(g.reasons), At: time.Now().UTC(),
	})
	g.decided = true
	close(g.settled)
}

// follow waits for the verdict, which whoever watches the primary containers
// will make: each of them ends by its own deadline.
func (g *gate) follow(ctx context.Context) error {
	select {
	case <-g.settled:
		if g.err == nil && !g.verdict.Open {
			return errors.New("halted at the barrier")
		}
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func primary(all []plan.Target) []plan.Target {
	return slices.DeleteFunc(slices.Clone(all), func(t plan.Target) bool { return !t.Primary })
}

// own leaves what concerns the stage's own targets: other shards report theirs.
func own(targets []plan.Target, records []state.Target, results map[string]state.BarrierTarget) ([]state.Target, map[string]state.BarrierTarget) {
	mine := map[string]state.BarrierTarget{}
	for _, t := range targets {
		mine[t.Key()] = results[t.Key()]
	}
	return records[:len(targets)], mine
}
