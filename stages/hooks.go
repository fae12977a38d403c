package stages

import (
	"context"
	"fmt"
	"slices"
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
