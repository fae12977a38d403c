package main

import (
	"context"
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureLock declares `kstep lock …`: the lease, by hand.
func configureLock(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("lock", "Manage the lease. Only its holder can change the hosts.")
	cmd.Command("status", "Show who holds the lease.")
	actions["lock status"] = p.answering(p.withLease("lock status", p.lockStatus))

	acquire := cmd.Command("acquire", "Acquire the lease, so that no release can deploy.")
	message := acquire.Flag("message", "The reason, shown to other users.").Short('m').Required().String()
	hold := acquire.Flag("for", "Time until the lease expires.").Default("1h").Duration()
	actions["lock acquire"] = p.withLease("lock acquire", func(ctx context.Context, s *stages.Session, store lease.Store) error {
		if *hold < lease.MinTTL {
			return exit.Errorf(exit.Usage, "--for %s: must be at least %s", *hold, lease.MinTTL)
		}
		_, err := store.Wait(ctx, lease.Holder{
			Release: state.NewRelease(time.Now()), By: s.By, RunURL: s.Actor.RunURL, Run: s.Actor.Run, Message: *message, TTL: *hold,
		}, s.LeaseWait(), func(reason error) {
			s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: "waiting: " + reason.Error()})
		})
		if err != nil {
			return err
		}
		p.result("you hold the lease of %s for %s", s.Config.Service, *hold)
		auditLease(ctx, s, "held the lease: "+*message)
		return nil
	})

	release := cmd.Command("release", "Free the lease.")
	force := release.Flag("force", "Also release a lease that another user or release holds.").Bool()
	actions["lock release"] = p.withLease("lock release", func(ctx context.Context, s *stages.Session, store lease.Store) error {
		return p.lockRelease(ctx, s, store, *force)
	})
}

// withLease makes an action of work on the lease.
func (p *program) withLease(command string, work func(context.Context, *stages.Session, lease.Store) error) action {
	return p.inSession(command, func(ctx context.Context, s *stages.Session) error {
		store, err := s.LeaseStore(ctx)
		if err != nil {
			return err
		}
		return work(ctx, s, store)
	})
}

func (p *program) lockStatus(ctx context.Context, _ *stages.Session, store lease.Store) error {
	now, err := store.Current(ctx)
	if err != nil {
		return err
	}
	waiting, err := store.Waiting(ctx)
	if err != nil {
		return err
	}
	if p.global.output == "json" {
		return p.encode(struct {
			Held    bool           `json:"held"`
			Token   int            `json:"token"`
			Holder  lease.Holder   `json:"holder,omitzero"`
			LeftMs  int64          `json:"leftMs"`
			Waiting []lease.Holder `json:"waiting,omitempty"`
		}{!now.Free(), now.Token, now.Holder, now.Left.Milliseconds(), waiting})
	}
	switch {
	case !now.Free() && now.Holder.Parked:
		p.result("parked by %s, which failed: it may go on, and a newer release takes the lease; expires in %s", now.Holder, now.Left.Round(time.Second))
	case !now.Free():
		p.result("held by %s; expires in %s", now.Holder, now.Left.Round(time.Second))
	case now.Token == 0 || now.Holder.Released:
		p.result("free")
	default:
		p.result("free: the lease of %s expired %s ago", now.Holder, (-now.Left).Round(time.Second))
	}
	for i, w := range waiting {
		p.result("%d. in the queue: %s", i+1, w)
	}
	return nil
}

// lockRelease frees what is the user's own by hand, or anything with force.
func (p *program) lockRelease(ctx context.Context, s *stages.Session, store lease.Store, force bool) error {
	now, err := store.Current(ctx)
	if force && exit.CodeOf(err) == exit.BadState {
		if err := store.Repair(ctx, s.By); err != nil {
			return err
		}
		p.result("freed a lease that was not kstep's")
		auditLease(ctx, s, "freed a lease that was not kstep's")
		return nil
	}
	if err != nil {
		return err
	}
	mine := now.Holder.Message != "" && now.Holder.By == s.By
	switch {
	case now.Token == 0 || now.Holder.Released:
		p.result("free already")
		return nil
	case !mine && !now.Free() && !force:
		return exit.With(exit.LeaseHeld, fmt.Errorf("the lease is held by %s; it expires in %s", now.Holder, now.Left.Round(time.Second)),
			"if its holder no longer runs: kstep lock release --force")
	}
	// Whatever still works for that release stops at its next change.
	if err := store.End(ctx, now, s.By); err != nil {
		return err
	}
	p.result("freed the lease of %s", now.Holder)
	auditLease(ctx, s, "freed the lease of "+now.Holder.String())
	return nil
}
