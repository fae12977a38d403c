package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/linger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// leaveFunc ends a stage's stay in the lease. It returns the stage's error,
// with its own joined.
type leaveFunc func(changed bool, err error) error

// enter takes the lease for a stage that touches hosts, or enters it again, and
// keeps it alive: the context it returns ends when another release takes it.
func (r *run) enter(ctx context.Context) (context.Context, leaveFunc, error) {
	if !r.info.Hosts {
		return ctx, func(_ bool, err error) error { return err }, nil
	}
	if r.lease == nil {
		if err := r.acquire(ctx); err != nil {
			return ctx, nil, err
		}
	} else if err := r.lease.Prove(ctx); exit.CodeOf(err) == exit.LeaseHeld {
		return ctx, nil, err // It stood still between two stages.
	}
	r.in.hold = r.lease
	beating, stop := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := r.lease.Beat(beating); err != nil {
			stop(err)
		}
	}()
	return beating, func(changed bool, err error) error {
		if lost := context.Cause(beating); lost != nil && ctx.Err() == nil {
			err = errors.Join(lost, err)
		}
		stop(nil)
		<-stopped
		return r.leave(ctx, changed, r.explained(ctx, err))
	}, nil
}

// explained puts first that another release has the lease, where that is so: it
// may well be why the stage failed, and decides how the process ends.
func (r *run) explained(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	lost := r.lease.Prove(ctx)
	switch {
	case exit.CodeOf(lost) != exit.LeaseHeld || exit.CodeOf(err) == exit.LeaseHeld:
		return err
	case errors.Is(err, lost): // One target's error among others.
		return exit.With(exit.LeaseHeld, err)
	default:
		return errors.Join(lost, err)
	}
}

// Warm begins to connect to the hosts that the filters leave. Where a hook has
// to run before the first connection, it waits for the stage that runs it.
func (s *Session) Warm(ctx context.Context) {
	if !s.connected && !s.Hooks.Skip {
		if hook, err := s.Hooks.Find("pre-connect"); hook != "" || err != nil {
			return
		}
	}
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err == nil { // Else the stage reports it.
		s.Hosts.Warm(ctx, plan.HostNames(targets))
	}
}

// acquire takes the lease and hands it to the guard, so that from here on no
// host is changed without it.
func (r *run) acquire(ctx context.Context) error {
	// All hosts at once, not the lease's first and then the others.
	everything := r.KeepLease || r.info.Name == FirstHostStage
	var routed []string
	if everything { // The whole release is to come.
		routed = routedHosts(r.in.Targets)
	}
	if err := r.surveyFor(ctx, r.touched(r.in.Targets, everything), routed, true); err != nil {
		return err
	}
	if err := r.notAhead(ctx); err != nil {
		return err
	}
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return err
	}
	if err := r.meet(ctx, store); err != nil {
		return err
	}
	if err := r.arrive(ctx, store); err != nil {
		return err
	}
	hold, got, err := r.queue(ctx, store)
	if err != nil {
		r.depart(ctx, nil)
		return err
	}
	if got.Taken != nil {
		r.Report.Emit(report.Event{
			Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name,
			Message: took(*got.Taken),
		})
	}
	r.lease = hold
	if r.Guard != nil {
		r.Guard.Hold(hold, func(ctx context.Context, name string) (lease.Fence, error) {
			h, err := r.Hosts.Get(ctx, name)
			if err != nil {
				return lease.Fence{}, err
			}
			return fence(ctx, Input{Config: r.Config}, h)
		})
	}
	return nil
}

// took says which lease was taken over.
func took(from lease.Lease) string {
	if from.Holder.Parked {
		return "took over the lease of a release that failed: " + from.Holder.String()
	}
	return "took over the expired lease of " + from.Holder.String()
}

func fence(ctx context.Context, in Input, h host.Host) (lease.Fence, error) {
	names, err := Names(ctx, in, h)
	return lease.Fence{Files: h.Files(), Dir: names.Fence()}, err
}

// LeaseStore is the lease of the session's service and destination.
func (s *Session) LeaseStore(ctx context.Context) (lease.Store, error) {
	host, names, err := s.on(ctx, plan.LeaseHost(plan.Targets(s.Config)))
	if err != nil {
		return lease.Store{}, err
	}
	return lease.Store{Host: host.Name(), Files: host.Files(), Dir: names.Lease()}, nil
}

// LeaseWait is how long the session queues for a lease that another release
// holds.
func (s *Session) LeaseWait() time.Duration {
	if s.Wait > 0 {
		return s.Wait
	}
	return s.Config.Lease.Wait.D()
}

// queue takes the lease, behind those who came before.
func (r *run) queue(ctx context.Context, store lease.Store) (*lease.Hold, lease.Acquired, error) {
	began := time.Now()
	got, err := store.Wait(ctx, lease.Holder{
		Release: r.Release, Version: r.Version, By: r.By, RunURL: r.Actor.RunURL, Run: r.Actor.Run,
		Stage: r.info.Name, TTL: r.Config.Lease.TTL.D(), Ended: r.info.Ends,
	}, r.LeaseWait(), func(reason error) {
		r.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name, Message: "waiting: " + reason.Error()})
		began = time.Now()
	})
	if err != nil {
		return nil, got, err
	}
	return lease.NewHold(store, got, began), got, nil
}

// leave frees the lease when the release is over: its last stage is done or
// found dead what it should end, or its barrier closed. A stage that found
// nothing to do in a release that was over already, or was refused, frees what it
// took to look, and one that failed parks it. Otherwise the lease stays for the
// release's next job.
func (r *run) leave(ctx context.Context, changed bool, err error) error {
	left := r.depart(ctx, err)
	over := exit.CodeOf(err) == exit.BarrierClosed || err == nil && r.over ||
		// All is done that can be; what follows is a rollback or another release.
		exit.CodeOf(err) == exit.Partial && r.info.Name == LastStage && r.whole()
	if r.info.Ends && (err == nil || r.over) {
		return errors.Join(err, r.EndLease(ctx))
	}
	refused := exit.CodeOf(err) == exit.BadState // Before it changed anything.
	if over && r.info.Name == LastStage {
		err = errors.Join(err, r.forgetDone(ctx))
	}
	if !over && (changed || left.others || left.failed && !refused || r.lease.Entered() || r.KeepLease) {
		if left.failed && !left.others && !r.KeepLease {
			err = errors.Join(err, r.park(ctx, changed))
		}
		if r.info.Name == LastStage && !r.whole() {
			r.letGo() // Another shard frees it; what this one still writes must not take it again.
		}
		return err
	}
	if over && err == nil && r.KeepLease {
		return nil // The command frees it when it has looked at the result: until then it can be killed and run again.
	}
	return errors.Join(err, r.FreeLease(ctx))
}

// park ends the stay of a stage that failed, and of which no other job is at
// work. The lease stays for the job that is run again, and does not keep a newer
// release out. Where the release has changed no host, it needs no lease at all.
func (r *run) park(ctx context.Context, changed bool) error {
	if !changed && !r.lease.Entered() {
		return r.FreeLease(ctx)
	}
	r.Settle(ctx)
	ctx, cancel := linger.Context(ctx, releaseTime)
	defer cancel()
	return r.lease.Park(ctx)
}

// last reports whether the last stage is over with this shard: every other one
// of the release has been here. Each leaves a mark for each of its targets
// before it looks, so that of several that end at once one finds them all. Call
// it once: a job that finds them all at a second look would remove the marks
// from under the one that is about to run the hooks of the end.
func (r *run) last(ctx context.Context) (bool, error) {
	if r.whole() {
		r.over = true
		return true, nil
	}
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return false, err
	}
	marks := path.Join(store.Dir, "done", r.Release)
	for _, t := range r.in.Targets {
		mark := path.Join(marks, url.PathEscape(t.Key()))
		err := store.Files.Write(ctx, mark, nil, 0o644)
		if errors.Is(err, fs.ErrNotExist) { // A shard that knows of no other removed the folder under it.
			err = store.Files.Write(ctx, mark, nil, 0o644)
		}
		if err != nil {
			return false, fmt.Errorf("mark %s as done: %w", t.Key(), err)
		}
	}
	done, err := store.Files.List(ctx, marks)
	if err != nil {
		return false, err
	}
	for _, t := range r.in.Upstream.File(r.info.Reads[0]).Targets {
		name := url.PathEscape(state.Key(t.Role, t.Host))
		if !slices.ContainsFunc(done, func(e host.Entry) bool { return e.Name == name }) {
			return false, nil
		}
	}
	r.over = true
	return true, nil
}

// whole reports whether no other job works for this release.
func (r *run) whole() bool { return r.shard() == "" || r.KeepLease }

// forgetDone removes the marks of last.
func (r *run) forgetDone(ctx context.Context) error {
	if r.whole() {
		return nil
	}
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		store.Files.RemoveTree(ctx, host.Under(store.Dir, "done", r.Release)),
		store.Files.RemoveTree(ctx, host.Under(machines(store), r.Release)),
		store.Files.RemoveTree(ctx, host.Under(shards(store), r.Release)),
	)
}

// releaseTime bounds the freeing of a lease after an interruption.
const releaseTime = 3 * time.Second

// FreeLease lets another release in. It does nothing if this process holds no
// lease.
func (s *Session) FreeLease(ctx context.Context) error { return s.freeLease(ctx, false) }

// EndLease is FreeLease for a release that is given up: jobs of it that are
// still at work somewhere stop at their next change.
func (s *Session) EndLease(ctx context.Context) error { return s.freeLease(ctx, true) }

func (s *Session) freeLease(ctx context.Context, end bool) error {
	s.Settle(ctx)
	if s.lease == nil {
		return nil
	}
	ctx, cancel := linger.Context(ctx, releaseTime)
	defer cancel()
	err := s.lease.Free(ctx, end)
	s.letGo()
	if err != nil {
		return fmt.Errorf("free the lease: %w", err)
	}
	return nil
}

// letGo makes the lease none of this process's business any more.
func (s *Session) letGo() {
	s.lease = nil
	if s.Guard != nil {
		s.Guard.Hold(nil, nil)
	}
}
