package stages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
)

// held is the lease that this process is in.
type held struct {
	store   lease.Store
	lease   lease.Lease
	entered bool // The release had it before this process.
}

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
		// All hosts at once, not the lease's first and then the others.
		r.Warm(ctx)
		h, err := r.acquire(ctx)
		if err != nil {
			return ctx, nil, err
		}
		r.lease = h
	}
	beating, stop := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := r.lease.beat(beating); err != nil {
			stop(err)
		}
	}()
	return beating, func(changed bool, err error) error {
		if lost := context.Cause(beating); lost != nil && ctx.Err() == nil {
			err = errors.Join(lost, err)
		}
		stop(nil)
		<-stopped
		return r.leave(ctx, changed, err)
	}, nil
}

// Warm begins to connect to the hosts that the filters leave.
func (s *Session) Warm(ctx context.Context) {
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err == nil { // Else the stage tells.
		s.Hosts.Warm(ctx, plan.HostNames(targets))
	}
}

func (r *run) acquire(ctx context.Context) (*held, error) {
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.queue(ctx, store)
	if err != nil {
		return nil, err
	}
	if got.Taken != nil {
		r.Report.Emit(report.Event{
			Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name,
			Message: "took over the expired lease of " + got.Taken.Holder.String(),
		})
	}
	return &held{store: store, lease: got.Lease, entered: got.Entered}, nil
}

// LeaseStore is the lease of the session's service and destination.
func (s *Session) LeaseStore(ctx context.Context) (lease.Store, error) {
	host, err := s.Hosts.Get(ctx, plan.LeaseHost(plan.Targets(s.Config)))
	if err != nil {
		return lease.Store{}, err
	}
	names, err := Names(ctx, Input{Config: s.Config}, host)
	return lease.Store{Files: host.Files(), Dir: names.Lease()}, err
}

// ask is the pause between two looks at a lease that another release holds.
const ask = 2 * time.Second

// queue waits for another release's lease as long as lease.wait says.
func (r *run) queue(ctx context.Context, store lease.Store) (lease.Acquired, error) {
	limit := time.Now().Add(r.Config.Lease.Wait.D())
	for told := false; ; told = true {
		got, err := store.Acquire(ctx, lease.Holder{
			Release: r.Release, Version: r.Version, By: r.By, RunURL: r.Actor.RunURL,
			Stage: r.info.Name, TTL: r.Config.Lease.TTL.D(),
		})
		if err == nil || exit.CodeOf(err) != exit.LeaseHeld || time.Now().After(limit) {
			return got, err
		}
		if !told {
			r.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name, Message: "waiting: " + err.Error()})
		}
		select {
		case <-ctx.Done():
			return got, context.Cause(ctx)
		case <-time.After(ask):
		}
	}
}

// beat renews the lease until ctx ends or another release has it.
func (h *held) beat(ctx context.Context) error {
	tick := time.NewTicker(h.lease.Holder.TTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := h.store.Renew(ctx, h.lease); exit.CodeOf(err) == exit.LeaseHeld {
				return err
			}
		}
	}
}

// leave frees the lease when the release is over: its last stage is done, or
// its barrier closed. A stage that found nothing to do in a release that was
// over already frees what it took to look. Otherwise the lease stays for the
// release's next job.
func (r *run) leave(ctx context.Context, changed bool, err error) error {
	over := (err == nil && r.info.Name == LastStage) || exit.CodeOf(err) == exit.BarrierClosed
	if !over && (changed || err != nil || r.lease.entered || r.KeepLease) {
		return err
	}
	return errors.Join(err, r.FreeLease(ctx))
}

// releaseTime bounds the freeing of a lease after an interruption.
const releaseTime = 3 * time.Second

// FreeLease lets another release in. It does nothing if this process holds no
// lease.
func (s *Session) FreeLease(ctx context.Context) error {
	if s.lease == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	err := s.lease.store.Release(ctx, s.lease.lease)
	s.lease = nil
	if err != nil {
		return fmt.Errorf("free the lease: %w", err)
	}
	return nil
}
