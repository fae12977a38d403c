package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// Execute runs one stage with everything that surrounds every stage: state in,
// checks, hooks, report, state out. The returned error carries the exit code
// and names the stage; the file is what was written, if anything was.
func Execute(ctx context.Context, stage Stage, s *Session) (*state.File, error) {
	info := stage.Info()
	started := time.Now().UTC()
	s.Report.Emit(report.Event{Time: started, Kind: report.StageStarted, Stage: info.Name})
	run := &run{Session: s, stage: stage, info: info, started: started}
	file, err := run.execute(ctx)
	if file != nil {
		s.Done = append(s.Done, file)
	} else if err != nil && ctx.Err() != nil {
		err = exit.With(interruption(ctx), errors.New("interrupted before it began"), "run the same command again")
	}
	run.report(file, err)
	if err != nil {
		err = fmt.Errorf("%s: %w", info.Name, err)
	}
	return file, err
}

// run is one stage's execution.
type run struct {
	*Session
	stage   Stage
	info    Info
	started time.Time
	in      Input
	outside bool // It belongs to no release.
	over    bool // All shards of the last stage are done, or the stage ended the release.
}

func (r *run) execute(ctx context.Context) (*state.File, error) {
	if err := r.secretNames(); err != nil {
		return nil, err
	}
	unlock, err := r.Lock(ctx, strings.TrimSuffix(state.FileName(r.info.Name, r.part()), ".json"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.gather(ctx); err != nil {
		return nil, err
	}
	if err := r.secretNames(); err != nil { // The version is known now.
		return nil, err
	}
	r.moved = r.moved || r.comesAfterTheMove()
	result, began, err := r.work(ctx)
	file, err := r.file(ctx, result, err)
	if err != nil && ctx.Err() == nil {
		r.failed(ctx, err)
	}
	if forgotten, failed := r.forgetChoice(err); forgotten {
		return nil, errors.Join(err, failed)
	}
	if !began && r.in.Own != nil && r.in.Own.Status.Done() {
		return file, err // What an earlier run did still holds, and so does its file.
	}
	if r.in.FromFuture && err == nil {
		r.Audit(ctx, r.info.Name, file.Targets)
		return file, r.forgetFuture(ctx)
	}
	if _, writeErr := r.Dir.Write(file); writeErr != nil {
		return file, errors.Join(err, writeErr)
	}
	if began {
		r.remember(ctx, file)
	}
	return file, err
}

// refusedAt reports whether the stage was refused or lost its lease.
func refusedAt(file *state.File) bool {
	switch exit.Code(file.ExitCode) {
	case exit.LeaseHeld, exit.BadState, exit.Usage:
		return true
	default:
		return false
	}
}

func (r *run) leaveBehind(ctx context.Context, file *state.File) {
	var wg sync.WaitGroup
	wg.Go(func() { r.mirror(ctx, file) })
	wg.Go(func() { r.Audit(ctx, r.info.Name, file.Targets) })
	wg.Wait()
}

// work runs the stage in its lease and between its hooks. began reports whether
// it ran.
func (r *run) work(ctx context.Context) (result Result, began bool, err error) {
	if err := r.connect(ctx); err != nil {
		return result, false, err
	}
	compared := r.asCopied(ctx)
	leased, leave, err := r.enter(ctx)
	other := compared()
	if err != nil {
		return result, false, err
	}
	if other != nil {
		return result, false, leave(false, other)
	}
	if r.info.Hosts {
		if err := r.stillChosen(leased); err != nil {
			return result, false, leave(false, err)
		}
	}
	if r.planned != nil && r.info.Hosts {
		if err := r.unmoved(leased); err != nil {
			return result, false, leave(false, err)
		}
		r.planned = nil // From here on the lease keeps others out.
	}
	if err := r.before(leased); err != nil {
		return result, false, leave(false, err)
	}
	result, err = r.stage.Run(leased, r.in)
	r.moved = r.moved || result.Moved
	if err == nil && r.info.Name == LastHostless && r.pinned != nil {
		err = r.isPlanned(&state.File{Stage: LastHostless, Outputs: encoded(result.Outputs)})
	}
	r.over = r.over || result.Over
	if err == nil {
		err = r.after(leased, result)
	}
	return result, true, leave(changed(result), err)
}

// gather reads and checks everything the stage needs, before anything is
// touched.
func (r *run) gather(ctx context.Context) error {
	r.surveyed.Store(r.later())
	all := plan.Targets(r.Config)
	targets, err := plan.Filter(all, r.Roles, r.HostGlobs)
	if err != nil {
		return err
	}
	expect := state.Expect{
		Service: r.Config.Service, Destination: r.Config.Destination,
		Release: cmp.Or(r.Release, r.Named), Resume: r.Resume,
	}
	reads := r.info.Reads
	if r.info.Name == "push" && (r.Options.Image != "" || r.Options.Retained != nil) {
		reads = nil
	}
	r.in.Targets = targets
	if err := r.fetch(ctx, expect); err != nil {
		return err
	}
	upstream, err := r.Dir.ReadSet(reads, expect)
	if err != nil {
		return err
	}
	if len(r.info.Optional) > 0 {
		if helpful, err := r.Dir.ReadSet(r.info.Optional, resumed(expect)); err == nil {
			upstream = helpful
		}
	}
	if err := r.sameCommit(ctx, upstream, reads); err != nil {
		return err
	}
	if err := r.identify(ctx, upstream, expect, len(reads) == 0); err != nil {
		return err
	}
	if err := r.isPlanned(upstream.File(LastHostless)); err != nil {
		return err
	}
	if err := r.statedImage(upstream.File(LastHostless)); err != nil {
		return err
	}
	for _, name := range reads {
		if f := upstream.File(name); len(f.Targets) > 0 && f.Targets[0].Role != "" {
			if err := upstream.RequireTargets(name, plan.Keys(targets)); err != nil {
				return err
			}
		}
	}
	expect.Release = r.Release
	own, err := r.Dir.Own(r.info.Name, r.part(), expect)
	if err != nil {
		return err
	}
	if own != nil && own.Status.Done() && !r.KeepLease { // Run again.
		r.surveyed.Store(true)
	}
	r.in = Input{
		Config: r.Config, Release: r.Release, Version: r.Version, By: r.By,
		Targets: targets, All: all, Upstream: upstream, Own: own,
		StateDir: r.Dir.Path(), Hosts: r.Hosts, Secrets: r.Secrets, Report: r.Report, Options: r.Options,
		Source: r.Source, images: r.puller(), survey: r.looks(), ahead: &aheads{stage: r.info.Name},
	}
	return nil
}

// Lock makes sure that no other process does the same work in the state folder,
// which it makes if need be.
func (s *Session) Lock(ctx context.Context, work string) (unlock func(), err error) {
	if err := s.Dir.Writable(); err != nil {
		return nil, err
	}
	return s.Dir.Lock(ctx, work, func() {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
			"waiting: another kstep is at %s in %s", work, s.Dir.Path())})
	})
}

// resumed expects files of stages that failed, too.
func resumed(expect state.Expect) state.Expect {
	expect.Resume = true
	return expect
}

func (r *run) shard() string { return plan.Shard(r.Roles, r.HostGlobs) }

// part is the shard of the stage's file: none for a stage that works on no host.
func (r *run) part() string {
	if !r.info.Hosts {
		return ""
	}
	return r.shard()
}

// identify finds out which release this is. The first stage of a pipeline
// makes one, unless it is run again for the version it made one for.
func (r *run) identify(ctx context.Context, upstream state.Set, expect state.Expect, first bool) error {
	if r.Release != "" {
		return nil
	}
	if !first {
		r.Release, r.Version = upstream.Release(), upstream.Version()
		r.Source = upstream.File(r.info.Reads[0]).Source
		return nil
	}
	if r.Named != "" {
		return r.goOnWith(r.Named, expect)
	}
	if r.KeepLease { // The stages that touch hosts follow in this process.
		if err := r.lookAhead(ctx); err != nil {
			return err
		}
	}
	version, source, err := r.Resolve(ctx)
	if err != nil {
		return err
	}
	r.Version, r.Source = version, source
	if r.KeepLease {
		r.takeUp(ctx)
	}
	own, err := r.Dir.Own(r.info.Name, r.part(), expect)
	if err != nil {
		return err
	}
	switch {
	case r.continues(own, version):
		r.Release = own.Release
	case r.beganElsewhere(version):
		r.Release = r.underway.Release
	default:
		r.Release = r.newRelease(ctx)
	}
	if r.Release == r.underway.Release {
		r.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Stage: r.info.Name,
			Message: "going on with " + r.underway.String()})
	}
	if r.KeepLease {
		return r.unheld(ctx)
	}
	return nil
}
