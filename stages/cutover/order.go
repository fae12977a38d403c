package cutover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// ledgerPause is the pause between two reads of the ledgers of hosts that other
// jobs work on; a file on a host announces no change.
const ledgerPause = time.Second

// order lets the other roles follow the primary one: they move when the primary
// role has moved on as many hosts as the barrier's quorum needs. So a cutover
// that fails there never leaves the primary role old and the others new.
type order struct {
	in     stages.Input
	needed int

	mu      sync.Mutex
	pending map[string]bool // Primary targets of this run that are undecided.
	moved   int
	decided chan struct{} // Closed when none is pending.
}

func newOrder(in stages.Input, verdict state.Verdict) *order {
	o := &order{in: in, needed: verdict.Needed, pending: map[string]bool{}, decided: make(chan struct{})}
	for _, t := range plan.Primary(in.Targets) {
		o.pending[t.Key()] = true
	}
	o.close()
	return o
}

func others(all []plan.Target) []plan.Target {
	return slices.DeleteFunc(slices.Clone(all), func(t plan.Target) bool { return t.Primary })
}

// settle decides a primary target. The first call for a target counts.
func (o *order) settle(key string, moved bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.pending[key] {
		return
	}
	delete(o.pending, key)
	if moved {
		o.moved++
	}
	o.close()
}

// end decides what is still pending: its turn never came.
func (o *order) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.pending)
	o.close()
}

// close announces the decision; o is locked, or not shared yet.
func (o *order) close() {
	select {
	case <-o.decided:
	default:
		if len(o.pending) == 0 {
			close(o.decided)
		}
	}
}

// errHeld is why the other roles do not move.
var errHeld = errors.New("the primary role did not move on enough hosts")

// wait returns when the other roles may move. It returns errHeld when they must
// not, and another error when that cannot be known.
func (o *order) wait(ctx context.Context) error {
	select {
	case <-o.decided:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	elsewhere := slices.DeleteFunc(plan.Primary(o.in.All), func(t plan.Target) bool {
		return slices.ContainsFunc(o.in.Targets, func(own plan.Target) bool { return own.Key() == t.Key() })
	})
	switch {
	case o.moved >= o.needed:
		return nil
	case o.moved+len(elsewhere) < o.needed:
		return errHeld
	}
	return o.follow(ctx, elsewhere)
}

// follow reads the ledgers of the primary hosts that other jobs work on, until
// enough of them have moved.
func (o *order) follow(ctx context.Context, elsewhere []plan.Target) error {
	limit := o.in.Config.Barrier.Timeout.D()
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for began := time.Now(); ; {
		if err := notClosed(waiting, o.in, "the old version keeps working"); exit.CodeOf(err) == exit.BarrierClosed {
			return err
		}
		moved, err := o.movedElsewhere(waiting, elsewhere)
		if err == nil && o.moved+moved >= o.needed {
			return nil
		}
		if !began.IsZero() {
			o.in.Report.Emit(report.Event{Time: began.UTC(), Kind: report.Notice, Message: fmt.Sprintf(
				"waiting for the cutover of role %s, which another job runs", o.in.Config.PrimaryRole)})
			began = time.Time{}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-waiting.Done():
			return exit.With(exit.Deadline, errors.Join(fmt.Errorf("role %s has moved on %d of %d hosts after %s, %d are needed: the other roles wait for it",
				o.in.Config.PrimaryRole, o.moved+moved, len(plan.Primary(o.in.All)), limit, o.needed), err),
				"run kstep cutover for "+o.in.Config.PrimaryRole+" first, then this one again")
		case <-time.After(ledgerPause):
		}
	}
}

// movedElsewhere counts the targets whose hosts have noted the release.
func (o *order) movedElsewhere(ctx context.Context, targets []plan.Target) (int, error) {
	var mu sync.Mutex
	moved := 0
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() {
			done, err := o.noted(ctx, t)
			errs[i] = err
			if done {
				mu.Lock()
				defer mu.Unlock()
				moved++
			}
		})
	}
	all.Wait()
	return moved, errors.Join(errs...)
}

func (o *order) noted(ctx context.Context, t plan.Target) (bool, error) {
	h, err := o.in.Hosts.Get(ctx, t.Host)
	if err != nil {
		return false, err
	}
	names, err := stages.Names(ctx, o.in, h)
	if err != nil {
		return false, err
	}
	book, err := ledger.Read(ctx, h.Files(), names.Ledger())
	if err != nil {
		return false, err
	}
	release, ok := book.Find(o.in.Release)
	return ok && len(release.Live[t.Role.Name]) > 0, nil
}

// inOrder moves the primary role, and the other roles once it has moved: its old
// containers may still drain then. Roles that must not move keep their old
// containers, and the new ones that run beside them are stopped.
func (c *cutover) inOrder(ctx context.Context, from inputs) (records []state.Target, results map[string]state.CutoverTarget, err error) {
	o := newOrder(c.in, c.verdict)
	first, second := c.in, c.in
	first.Targets, second.Targets = plan.Primary(c.in.Targets), others(c.in.Targets)
	results = map[string]state.CutoverTarget{}

	var late []state.Target
	var lateResults map[string]state.CutoverTarget
	var lateErr error
	var both sync.WaitGroup
	if len(second.Targets) > 0 {
		both.Go(func() {
			switch lateErr = o.wait(ctx); {
			case lateErr == nil:
				late, lateResults, lateErr = c.waves(ctx, second, from, nil)
			case errors.Is(lateErr, errHeld):
				lateErr = c.hold(ctx, second, from)
			}
		})
	}
	records, found, err := c.waves(ctx, first, from, o)
	o.end()
	both.Wait()
	maps.Copy(results, found)
	maps.Copy(results, lateResults)
	return sorted(c.in.Targets, append(records, late...)), results, errors.Join(err, lateErr)
}

// waves moves the targets of the input group by group.
func (c *cutover) waves(ctx context.Context, in stages.Input, from inputs, o *order) ([]state.Target, map[string]state.CutoverTarget, error) {
	limits := in.Config.Cutover
	return stages.Waves(ctx, in, limits.Limit, limits.Wait.D(), func(ctx context.Context, w *stages.Work) (out state.CutoverTarget, err error) {
		key := w.Target.Key()
		moved := func() {}
		if o != nil {
			moved = func() { o.settle(key, true) }
			defer func() { o.settle(key, out.Done) }()
		}
		ids, err := from.booted(key, c.hosts[w.Target.Host].book)
		if err != nil {
			return state.CutoverTarget{}, err
		}
		return c.target(ctx, w, ids, from.proven(key), moved)
	})
}

// hold stops the new containers of roles that do not move.
func (c *cutover) hold(ctx context.Context, in stages.Input, from inputs) error {
	_, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		var down []engine.Container
		for _, id := range from.boot.Targets[w.Target.Key()].IDs() {
			one, err := stages.Stated(ctx, in, w, id)
			if errors.Is(err, engine.ErrNotFound) {
				continue
			}
			if err != nil {
				return struct{}{}, err
			}
			if one.Up() && !slices.Contains(c.hosts[w.Target.Host].book.Live(w.Target.Role.Name), id) {
				down = append(down, one)
			}
		}
		return struct{}{}, c.stopHeld(ctx, w, down)
	})
	return err
}

func (c *cutover) stopHeld(ctx context.Context, w *stages.Work, down []engine.Container) error {
	err := stages.StopUnserved(ctx, c.in, w, down)
	if err == nil && len(down) > 0 {
		w.Did("stopped %s: role %s did not move; the old version keeps working", engine.NamesOf(down), c.in.Config.PrimaryRole)
	}
	return err
}

// sorted puts records into the order of the targets.
func sorted(targets []plan.Target, records []state.Target) []state.Target {
	at := func(r state.Target) int {
		return slices.IndexFunc(targets, func(t plan.Target) bool { return t.Host == r.Host && t.Role.Name == r.Role })
	}
	slices.SortStableFunc(records, func(a, b state.Target) int { return at(a) - at(b) })
	return records
}
