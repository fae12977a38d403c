package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
)

// Session is what one kstep process has for all the stages it runs.
type Session struct {
	Config *config.Config
	// Roles and HostGlobs are the filters; both empty means everything.
	Roles, HostGlobs []string
	Dir              *state.Dir
	Hosts            *host.Pool
	Secrets          *secret.Store
	Report           report.Sink
	Hooks            *hook.Runner
	Tool             state.Tool
	Actor            state.Actor
	// By is the person or job in ledgers and hooks.
	By string
	// Command is what the user called, for hooks.
	Command string
	// StateFrom is where state comes from that the folder does not have:
	// FromHosts, or nowhere.
	StateFrom string
	// Resume builds upon stages that failed or were interrupted.
	Resume  bool
	Options Options
	// Guard stands around all that the session does on hosts, and lets nothing
	// be changed there without the lease.
	Guard *lease.Guard
	// Wait is how long to queue for the lease; 0 means what the config says.
	Wait time.Duration
	// Release, Version and Source are set by the first stage, or read from the
	// state by the first that needs them.
	Release string
	Version string
	Source  state.Source
	// Resolve tells the version when no state does.
	Resolve func(context.Context) (version string, source state.Source, err error)
	// KeepLease holds the lease from the first stage that needs it to the end
	// of the process, which frees it.
	KeepLease bool
	// Done are the files of the stages that ran, in order.
	Done []*state.File

	lease     *lease.Hold // Once a stage that touches hosts has run.
	connected bool        // The pre-connect hook has run.
	fetched   bool        // The state has been fetched from the hosts.
}

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
}

func (r *run) execute(ctx context.Context) (*state.File, error) {
	if err := r.gather(ctx); err != nil {
		return nil, err
	}
	result, began, err := r.work(ctx)
	file, err := r.file(ctx, result, err)
	if err != nil && ctx.Err() == nil {
		r.failed(ctx, err)
	}
	if !began && r.in.Own != nil && r.in.Own.Status.Done() {
		return file, err // What an earlier run did still holds, and so does its file.
	}
	if _, writeErr := r.Dir.Write(file); writeErr != nil {
		return file, errors.Join(err, writeErr)
	}
	if began {
		r.mirror(ctx, file)
	}
	return file, err
}

// work runs the stage in its lease and between its hooks. began tells that it
// got as far as to run.
func (r *run) work(ctx context.Context) (result Result, began bool, err error) {
	if err := r.connect(ctx); err != nil {
		return result, false, err
	}
	leased, leave, err := r.enter(ctx)
	if err != nil {
		return result, false, err
	}
	if err := r.before(leased); err != nil {
		return result, false, leave(false, err)
	}
	result, err = r.stage.Run(leased, r.in)
	if err == nil {
		err = r.after(leased, result)
	}
	return result, true, leave(changed(result), err)
}

// connect runs the pre-connect hook, once in a process that touches hosts.
func (r *run) connect(ctx context.Context) error {
	if !r.info.Hosts || r.connected {
		return nil
	}
	r.connected = true
	return r.hooks(ctx, hook.Details{}, "pre-connect")
}

// gather reads and checks everything the stage needs, before anything is
// touched.
func (r *run) gather(ctx context.Context) error {
	all := plan.Targets(r.Config)
	targets, err := plan.Filter(all, r.Roles, r.HostGlobs)
	if err != nil {
		return err
	}
	if err := r.Dir.Writable(); err != nil {
		return err
	}
	expect := state.Expect{
		Service: r.Config.Service, Destination: r.Config.Destination,
		Release: r.Release, Resume: r.Resume,
	}
	reads := r.info.Reads
	if r.Options.Image != "" && r.info.Name == "push" {
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
	if err := r.identify(ctx, upstream, expect, len(reads) == 0); err != nil {
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
	own, err := r.Dir.Own(r.info.Name, r.shard(), expect)
	if err != nil {
		return err
	}
	r.in = Input{
		Config: r.Config, Release: r.Release, Version: r.Version, By: r.By,
		Targets: targets, All: all, Upstream: upstream, Own: own,
		StateDir: r.Dir.Path(), Hosts: r.Hosts, Secrets: r.Secrets, Report: r.Report, Options: r.Options,
		Source: r.Source,
	}
	return nil
}

// resumed expects files of stages that failed, too.
func resumed(expect state.Expect) state.Expect {
	expect.Resume = true
	return expect
}

func (r *run) shard() string { return plan.Shard(r.Roles, r.HostGlobs) }

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
	version, source, err := r.Resolve(ctx)
	if err != nil {
		return err
	}
	r.Version, r.Source = version, source
	own, err := r.Dir.Own(r.info.Name, r.shard(), expect)
	if err != nil {
		return err
	}
	if own != nil && own.Version == version && !r.Options.NewRelease {
		r.Release = own.Release
		return nil
	}
	r.Release = state.NewRelease(time.Now(), r.Dir.Releases()...)
	return nil
}

// before runs the hooks that come before the stage. One that fails ends the
// stage before anything is touched.
func (r *run) before(ctx context.Context) error {
	var names []string
	if r.info.Name == FirstHostStage && (r.in.Own == nil || !r.in.Own.Status.Done()) {
		names = append(names, "pre-deploy")
	}
	return r.hooks(ctx, hook.Details{}, append(names, "pre-"+r.info.Name)...)
}

func (r *run) after(ctx context.Context, result Result) error {
	names := []string{"post-" + r.info.Name}
	status := state.Unchanged
	if changed(result) {
		status = state.OK
	}
	if r.info.Name == LastStage && (r.in.Own == nil || !r.in.Own.Status.Done()) {
		names = append(names, "post-deploy")
	}
	return r.hooks(ctx, hook.Details{Runtime: r.runtime(), Status: string(status)}, names...)
}

func (r *run) failed(ctx context.Context, cause error) {
	details := hook.Details{Runtime: r.runtime(), Status: string(state.Failed), ExitCode: int(exit.CodeOf(cause))}
	if err := r.hooks(ctx, details, "on-failure"); err != nil {
		r.Report.Emit(report.Event{Kind: report.Warning, Stage: r.info.Name, Message: fmt.Sprintf("%s (after: %s)", err, cause)})
	}
}

func (r *run) hooks(ctx context.Context, details hook.Details, names ...string) error {
	details.Performer, details.Version, details.Release = r.By, r.Version, r.Release
	details.Service, details.Destination = r.Config.Service, r.Config.Destination
	details.Hosts, details.Roles = plan.HostNames(r.in.Targets), roleNames(r.in.Targets)
	details.Command, details.Stage, details.StateDir = r.Command, r.info.Name, r.Dir.Path()
	for _, name := range names {
		if err := r.Hooks.Run(ctx, name, details); err != nil {
			return err
		}
	}
	return nil
}

// runtime is the time since the release's first stage began.
func (r *run) runtime() time.Duration { return time.Since(state.ReleaseTime(r.Release)) }

// file makes the state file of what happened, and the error that the process
// exits with.
func (r *run) file(ctx context.Context, result Result, err error) (*state.File, error) {
	f := &state.File{
		Release: r.Release,
		Service: r.Config.Service, Destination: r.Config.Destination, Version: r.Version,
		Stage: r.info.Name, Shard: r.shard(), Tool: r.Tool, Actor: r.Actor, Source: r.Source,
		Config: r.Config.Digest(), Inputs: r.in.Upstream.Inputs(),
		Started: r.started, Finished: time.Now().UTC(), Targets: result.Targets,
	}
	f.Status, err = r.judge(ctx, result, err)
	f.ExitCode = int(exit.CodeOf(err))
	if err != nil {
		f.Reason = err.Error()
	}
	if result.Outputs == nil {
		return f, err
	}
	outputs, encodeErr := json.Marshal(result.Outputs)
	f.Outputs = outputs
	return f, errors.Join(err, encodeErr)
}

// judge turns the outcome of the targets into the stage's.
func (r *run) judge(ctx context.Context, result Result, err error) (state.Status, error) {
	switch {
	case err == nil && changed(result):
		return state.OK, nil
	case err == nil:
		return state.Unchanged, nil
	case ctx.Err() != nil:
		return state.Interrupted, exit.With(interruption(ctx), err, "run the same command again to go on")
	}
	done := slices.ContainsFunc(result.Targets, func(t state.Target) bool { return t.Status.Done() })
	if !done {
		return state.Failed, err
	}
	if r.info.Moves && exit.CodeOf(err) != exit.LeaseHeld { // What was overtaken must not be repeated.
		err = exit.With(exit.Partial, err)
	}
	return state.Partial, err
}

// interruption is the exit code of the signal that ended the context.
func interruption(ctx context.Context) exit.Code {
	if e, ok := errors.AsType[*exit.Error](context.Cause(ctx)); ok {
		return e.Code
	}
	return exit.Interrupted
}

func changed(result Result) bool {
	return result.Changed || slices.ContainsFunc(result.Targets, func(t state.Target) bool { return t.Status == state.OK })
}

func (r *run) report(file *state.File, err error) {
	e := report.Event{
		Time: time.Now().UTC(), Kind: report.StageFinished, Stage: r.info.Name,
		Status: string(state.Failed), Duration: time.Since(r.started),
	}
	if file != nil {
		e.Status = string(file.Status)
	}
	if err != nil {
		e.Message = err.Error()
	}
	r.Report.Emit(e)
}

func roleNames(targets []plan.Target) []string {
	var names []string
	for _, t := range targets {
		if !slices.Contains(names, t.Role.Name) {
			names = append(names, t.Role.Name)
		}
	}
	return names
}
