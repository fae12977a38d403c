package main

import (
	"context"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/abort"
)

// configureAbort declares `kstep abort`: what CI runs when a pipeline was
// cancelled or has failed.
func configureAbort(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("abort", "Take a release's new containers down and keep the old version serving. It never takes away what serves.")
	yes := cmd.Flag("yes", "Abort a release that has the traffic on every host.").Bool()
	actions["abort"] = p.inSession("abort", func(ctx context.Context, s *stages.Session) error {
		return p.abort(ctx, s, p.global.release, *yes)
	})
}

func (p *program) abort(ctx context.Context, s *stages.Session, id string, yes bool) error {
	s.Hosts.Warm(ctx, plan.HostNames(plan.Targets(s.Config)))
	store, err := s.LeaseStore(ctx)
	if err != nil {
		return err
	}
	holder, err := store.Current(ctx)
	if err != nil {
		return err
	}
	in := s.Input(plan.Targets(s.Config), nil)
	found := abort.Release{ID: id}
	if id == "" {
		if found, err = abort.Find(ctx, s, in, holder); err != nil {
			return err
		}
	}
	if found.ID == "" {
		p.nothing(s, "nothing to abort: no release is under way")
		return nil
	}
	s.Release, s.Version = found.ID, found.Version
	if others(holder, found.ID) {
		in.Release = found.ID
		upstream, _ := s.Dir.ReadSet([]string{"boot"}, state.Expect{
			Service: s.Config.Service, Destination: s.Config.Destination, Release: found.ID, Resume: true,
		})
		left, err := abort.Trace(ctx, in, upstream)
		if err != nil {
			return err
		}
		if !left {
			p.nothing(s, "nothing to abort: release "+found.ID+" has left nothing, and the lease is another's: "+holder.Holder.String())
			return nil
		}
	}
	if s.Version == "" {
		s.Version = "unknown"
	}
	_, err = stages.Execute(ctx, abort.Stage{Yes: yes}, s)
	return err
}

// others reports whether another release holds the lease.
func others(l lease.Lease, release string) bool {
	return !l.Free() && l.Holder.Release != release
}

// nothing reports that there was nothing to do.
func (p *program) nothing(s *stages.Session, message string) {
	s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Stage: "abort", Message: message})
}
