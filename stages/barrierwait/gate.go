package barrierwait

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// gate counts the primary containers until the verdict is settled, here or by
// another job of the release.
type gate struct {
	in   stages.Input
	boot state.BootOutputs
	// before is what an earlier run of this stage found.
	before state.BarrierWaitOutputs
	// unknown are primary targets of other shards that no state file here has:
	// the job that booted them has to make the verdict.
	unknown []string

	mu      sync.Mutex
	attempt barrier.Attempt
	count   barrier.Count
	unseen  int // Primary containers whose hosts did not answer.
	verdict state.Verdict
	settled chan struct{} // Closed when verdict is final.
	decided bool          // This process made the verdict.
	books   []ledger.Ledger
	reasons []reason
	hints   []string
	noticed []string
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
	var current barrier.Attempt
	var currentErr error
	var asking sync.WaitGroup
	asking.Go(func() { current, currentErr = barrier.Current(ctx, h.Files(), names.Verdict(in.Release)) })
	book, err := ledger.Read(ctx, h.Files(), names.Ledger())
	asking.Wait()
	if err == nil {
		err = book.Guard(h.Name(), in.Release) // An overtaken release's containers are stopped, not sick.
	}
	if err != nil {
		return nil, err
	}
	g := &gate{in: in, boot: boot, settled: make(chan struct{}), books: []ledger.Ledger{book}}
	if g.before, err = state.OwnOutputs[state.BarrierWaitOutputs](in.Own); err != nil {
		return nil, err
	}
	if g.attempt, err = current, currentErr; err != nil {
		return nil, err
	}
	if g.isRetry() {
		if g.attempt, err = g.attempt.Again(ctx); err != nil {
			return nil, err
		}
	}
	if made := g.attempt.Verdict; made != nil {
		g.verdict = *made
		close(g.settled)
	} else {
		g.before = state.BarrierWaitOutputs{} // Of an attempt before this one: its containers were started again.
	}
	for _, t := range plan.Primary(in.All) {
		if _, known := boot.Targets[t.Key()]; !known && !g.own(t) {
			g.unknown = append(g.unknown, t.Key())
		}
	}
	g.count = barrier.NewCount(in.Config.Barrier.QuorumOf(g.first()), len(plan.Primary(in.All)))
	return g, nil
}

// first reports whether it is known of all hosts of the primary role that no
// release has served before.
func (g *gate) first() bool {
	if len(g.unknown) > 0 || stages.ServedBefore(g.in.Release, g.books...) {
		return false
	}
	for _, t := range g.boot.Targets {
		if t.Old {
			return false
		}
	}
	return true
}

func (g *gate) own(t plan.Target) bool {
	return slices.ContainsFunc(g.in.Targets, func(own plan.Target) bool { return own.Key() == t.Key() })
}

// watched are the stage's own targets and, because the verdict needs them, the
// primary ones of other shards.
func (g *gate) watched() []plan.Target {
	targets := slices.Clone(g.in.Targets)
	for _, t := range plan.Primary(g.in.All) {
		if !g.own(t) && !slices.Contains(g.unknown, t.Key()) {
			targets = append(targets, t)
		}
	}
	return targets
}

// hear is the pause between two looks for another job's verdict; a file on a
// host sends no notice.
const hear = time.Second

// listen finds the verdict that another job makes: it may know better, or have
// less patience. A job that works on all targets is the only one.
func (g *gate) listen(ctx context.Context) {
	if len(g.in.Targets) == len(g.in.All) || g.over() {
		return
	}
	if len(g.unknown) > 0 {
		g.in.Report.Emit(report.Event{Kind: report.Notice, Message: fmt.Sprintf(
			"boot's state of %s is not here: the verdict may have to come from another job", strings.Join(g.unknown, ", "))})
	}
	for {
		select {
		case <-g.settled:
			return
		case <-ctx.Done():
			return
		case <-time.After(hear):
		}
		made, err := g.attempt.Find(ctx)
		if err != nil || made == nil {
			continue // Tried again; this job's own count may be faster.
		}
		g.mu.Lock()
		if !g.over() {
			g.verdict = *made
			close(g.settled)
		}
		g.mu.Unlock()
	}
}

// tally counts a primary container, and makes the verdict when it is clear.
func (g *gate) tally(ctx context.Context, w *stages.Work, failed error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case failed == nil:
		g.count.Ready++
	case exit.CodeOf(failed) == exit.Unreachable: // It may be fine: it was not observed.
		g.unseen++
	default:
		g.count.Sick++
	}
	if failed != nil {
		g.reasons = append(g.reasons, reason{w.Target.Key(), failed.Error()})
		g.hints = append(g.hints, exit.Hints(failed)...)
	}
	if g.over() {
		return
	}
	open, decided := g.count.Decided()
	if ctx.Err() != nil {
		return
	}
	if !decided {
		if g.count.Ready+g.count.Sick+g.unseen == g.count.Total {
			g.err = exit.With(exit.Unreachable, fmt.Errorf("the barrier is undecided: %s", listed(g.reasons)),
				"nothing was stopped: run kstep barrier-wait again when the hosts answer")
			close(g.settled)
		}
		return
	}
	mine := state.Verdict{
		Release: g.in.Release, Open: open, Ready: g.count.Ready, Total: g.count.Total,
		Needed: g.count.Needed, Reason: listed(g.reasons), At: time.Now().UTC(),
	}
	g.verdict, g.err = g.attempt.Settle(ctx, mine)
	g.decided = g.err == nil && g.verdict.At.Equal(mine.At)
	close(g.settled)
}

// over reports whether there is a verdict, or will be none.
func (g *gate) over() bool {
	select {
	case <-g.settled:
		return true
	default:
		return false
	}
}

// follow waits for the verdict. The jobs that watch the primary containers make
// it: each of them ends by its own deadline.
func (g *gate) follow(ctx context.Context) error {
	timeout := g.in.Config.Barrier.Timeout.D()
	select {
	case <-g.settled:
		if g.err == nil && !g.verdict.Open {
			return stages.ErrHalted
		}
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(timeout): // A primary host that was not reached at all counts nothing.
		return g.undecided(timeout)
	}
}

// undecided is a deadline that passed without a verdict. Nothing is stopped on
// the strength of what this job does not know.
func (g *gate) undecided(timeout time.Duration) error {
	if len(g.unknown) == 0 {
		return exit.With(exit.Deadline, fmt.Errorf("no verdict within %s", timeout),
			"nothing was stopped: run kstep barrier-wait again when all primary hosts answer")
	}
	return exit.With(exit.MissingState,
		fmt.Errorf("no job made a verdict within %s, and state of boot misses %s", timeout, strings.Join(g.unknown, ", ")),
		"nothing was stopped: fetch the state files of the jobs that booted them, or run kstep barrier-wait there, and then here again")
}

// own leaves what concerns the stage's own targets: other shards report theirs.
func own(targets []plan.Target, records []state.Target, results map[string]state.BarrierTarget) ([]state.Target, map[string]state.BarrierTarget) {
	mine := map[string]state.BarrierTarget{}
	for _, t := range targets {
		mine[t.Key()] = results[t.Key()]
	}
	return records[:len(targets)], mine
}
