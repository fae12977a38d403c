package stages

import (
	"context"
	"errors"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// Outside does work on hosts that belongs to no release, such as `env push`. It
// is surrounded by what surrounds a stage (filters, lease, guard, report), but
// reads and leaves no state files. The lease is free when it is done.
func Outside(ctx context.Context, s *Session, name string, work func(context.Context, Input) ([]state.Target, error)) error {
	return OutsideOn(ctx, s, name, plan.Targets(s.Config), work)
}

// OutsideOn is Outside for other targets than those of all roles, of which the
// filters leave some.
func OutsideOn(ctx context.Context, s *Session, name string, all []plan.Target, work func(context.Context, Input) ([]state.Target, error)) error {
	r := &run{Session: s, info: Info{Name: name, Hosts: true}, started: time.Now().UTC(), outside: true}
	s.Report.Emit(report.Event{Time: r.started, Kind: report.StageStarted, Stage: name})
	file, err := r.executeOutside(ctx, all, work)
	if file != nil {
		s.Done = append(s.Done, file)
	} else if err != nil && ctx.Err() != nil {
		err = exit.With(interruption(ctx), errors.New("interrupted before it began"), "run the same command again")
	}
	r.report(file, err)
	return err
}

func (r *run) executeOutside(ctx context.Context, all []plan.Target, work func(context.Context, Input) ([]state.Target, error)) (*state.File, error) {
	targets, err := plan.Filter(all, r.Roles, r.HostGlobs)
	if err != nil {
		return nil, err
	}
	r.in = r.Input(all, targets)
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	r.Release = state.NewRelease(r.started, r.Dir.Releases()...)
	r.in.Release = r.Release
	leased, leave, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	records, err := work(leased, r.in)
	err = errors.Join(leave(true, err), r.FreeLease(ctx))
	file, err := r.file(ctx, Result{Targets: records}, err)
	if err != nil && ctx.Err() == nil {
		r.failed(ctx, err)
	}
	r.Release, file.Release = "", "" // There was none.
	if file.ExitCode != int(exit.LeaseHeld) {
		r.Audit(ctx, r.info.Name, file.Targets)
	}
	return file, err
}
