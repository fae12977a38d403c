package stages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// connect runs the pre-connect hook, once in a process that touches hosts.
func (r *run) connect(ctx context.Context) error {
	if !r.info.Hosts || r.connected {
		return nil
	}
	r.connected = true
	return r.hooks(ctx, hook.Details{}, "pre-connect")
}

// Connect runs the hook that comes before the first connection, once, for
// commands that are no stage but connect to hosts.
func (s *Session) Connect(ctx context.Context) error {
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err != nil {
		return err
	}
	return (&run{Session: s, info: Info{Hosts: true}, in: Input{Targets: targets}}).connect(ctx)
}

// before runs the hooks that come before the stage. One that fails ends the
// stage before anything is touched.
func (r *run) before(ctx context.Context) error {
	if r.info.Name == FirstHostStage && r.unfinished() {
		if err := r.once(ctx, "pre-deploy", hook.Details{}); err != nil {
			return err
		}
	}
	err := r.hooks(ctx, hook.Details{}, "pre-"+r.info.Name)
	booted, _ := state.Outputs[state.BootOutputs](r.in.Upstream, "boot") // Empty before boot.
	return stillRun(err, booted)
}

// stillRun adds to the error of a hook which containers of the release it leaves.
func stillRun(err error, booted state.BootOutputs) error {
	if err == nil {
		return nil
	}
	hosts := map[string][]string{} // By container.
	for _, key := range slices.Sorted(maps.Keys(booted.Targets)) {
		_, host, _ := strings.Cut(key, "@")
		for _, one := range booted.Targets[key].Replicas {
			if !booted.Targets[key].Waiting {
				hosts[one.Name] = append(hosts[one.Name], host)
			}
		}
	}
	if len(hosts) == 0 {
		return err
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		all = append(all, name+" on "+strings.Join(hosts[name], ", "))
	}
	return exit.Hint(err, "still running: "+strings.Join(all, "; "),
		"correct the cause and run the same command again, or take them down: kstep abort")
}

func (r *run) after(ctx context.Context, result Result) error {
	details := hook.Details{Runtime: r.runtime(), Status: string(state.Unchanged)}
	if changed(result) {
		details.Status = string(state.OK)
	}
	err := r.hooks(ctx, details, "post-"+r.info.Name)
	booted, isBoot := result.Outputs.(state.BootOutputs)
	if !isBoot && r.info.Name == "barrier-wait" {
		booted, _ = state.Outputs[state.BootOutputs](r.in.Upstream, "boot")
	}
	if err = stillRun(err, booted); err != nil || r.info.Name != LastStage {
		return err
	}
	over, err := r.last(ctx)
	if err != nil || !over || !r.unfinished() {
		return err
	}
	details.Hosts, details.Roles = r.everywhere()
	details.Runtime = r.runtime()
	if r.hasServed() {
		details.Status = string(state.OK)
	}
	return r.once(ctx, "post-deploy", details)
}

// hasServed reports whether the release put containers into service, in whichever job.
func (r *run) hasServed() bool {
	if r.in.Upstream.File(r.info.Reads[0]).Status != state.Unchanged {
		return true
	}
	return slices.ContainsFunc(r.Done, func(f *state.File) bool {
		return f.Stage == r.info.Reads[0] && f.Status != state.Unchanged
	})
}

// unfinished reports whether no earlier run has done the stage.
func (r *run) unfinished() bool { return r.in.Own == nil || !r.in.Own.Status.Done() }

// everywhere is where the release has been, whatever part of it this job is.
func (r *run) everywhere() (hosts, roles []string) {
	for _, t := range r.in.Upstream.File(r.info.Reads[0]).Targets {
		if !slices.Contains(hosts, t.Host) {
			hosts = append(hosts, t.Host)
		}
		if t.Role != "" && !slices.Contains(roles, t.Role) {
			roles = append(roles, t.Role)
		}
	}
	return hosts, roles
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
	if details.Hosts == nil {
		details.Hosts, details.Roles = plan.HostNames(r.in.Targets), roleNames(r.in.Targets)
	}
	details.Command, details.Subcommand, details.StateDir = r.Command, r.Subcommand, r.Dir.Path()
	if !r.outside {
		details.Stage = r.info.Name
	}
	for _, name := range names {
		if err := r.Hooks.Run(ctx, name, details); err != nil {
			return err
		}
	}
	return nil
}

// runtime is the time since the release's first stage began.
func (r *run) runtime() time.Duration { return time.Since(state.ReleaseTime(r.Release)) }

func roleNames(targets []plan.Target) []string {
	var names []string
	for _, t := range targets {
		if !slices.Contains(names, t.Role.Name) {
			names = append(names, t.Role.Name)
		}
	}
	return names
}
