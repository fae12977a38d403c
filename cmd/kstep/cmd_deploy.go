package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureDeploy declares `kstep deploy`: the whole pipeline in one process,
// over shared connections, with the same state files.
func configureDeploy(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("deploy", "Run all stages, from build to prune.")
	flags := &stageFlags{}
	flags.first(cmd)
	flags.ready(cmd)
	flags.without(cmd)
	flags.follow(cmd)
	actions["deploy"] = func(ctx context.Context) error {
		follow, err := p.following(flags)
		if err != nil {
			return err
		}
		return p.deploy(ctx, "deploy", flags, follow, func(ctx context.Context, s *stages.Session) error { return s.Unmoved(ctx) })
	}
}

// configureRedeploy declares `kstep redeploy`: deploy as a new release, also of
// the version that is live. It skips no stage, prune least of all.
func configureRedeploy(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("redeploy", "Deploy the same version again, as a new release, with the current configuration.")
	flags := &stageFlags{}
	cmd.Flag("version", "Name the version; default: KSTEP_VERSION, else the git commit.").StringVar(&flags.version)
	cmd.Flag("force", "Recreate every container, even if nothing has changed.").BoolVar(&flags.anew)
	flags.ready(cmd)
	flags.without(cmd)
	actions["redeploy"] = func(ctx context.Context) error {
		flags.again = true
		return p.deploy(ctx, "redeploy", flags)
	}
}

// deploy runs the pipeline, after what has to come before: that looks while no
// other kstep works in the state folder.
func (p *program) deploy(ctx context.Context, command string, flags *stageFlags, before ...func(context.Context, *stages.Session) error) error {
	return p.withSession(ctx, command, flags.version, flags.options(), func(ctx context.Context, s *stages.Session) error {
		return runChain(ctx, s, before)
	})
}

func undone(t state.Target) bool { return !t.Status.Done() }

// runChain runs the stages one after the other, from build on, or from push on
// where an image is there already.
func runChain(ctx context.Context, s *stages.Session, before []func(context.Context, *stages.Session) error) (err error) {
	unlock, err := s.Lock(ctx, "deploy")
	if err != nil {
		return err
	}
	defer unlock()
	for _, do := range before {
		if err := do(ctx, s); err != nil {
			return err
		}
	}
	if s.Options.Retained == nil { // Nothing is built in vain.
		if err := secretsAtHand(s).err; err != nil {
			return err
		}
	}
	began := time.Now()
	chain := chainFor(s.Options)
	ahead, err := lookAhead(ctx, s, chain)
	if err != nil {
		return err
	}
	defer ahead.stop(nil)
	s.KeepLease = true
	defer func() { err = errors.Join(err, s.FreeLease(ctx)) }()
	for i, stage := range chain {
		if chain[min(i+1, len(chain)-1)].Info().Hosts {
			s.Warm(ctx) // The connections are there when the next stage begins.
		}
		file, failed := stages.Execute(ahead.during(ctx, i), stage, s)
		if unfit := ahead.end(ctx, failed); unfit != nil {
			return unfit
		}
		if failed == nil {
			continue
		}
		err = errors.Join(err, failed)
		if !stage.Info().Enough || file == nil || file.Status != state.Partial || !slices.ContainsFunc(file.Targets, undone) { // A hook may have refused.
			return exit.With(exit.CodeOf(failed), err)
		}
		s.Resume = true // What is ready goes on; the end reports the rest.
	}
	if err != nil {
		return err
	}
	back := wayBack(ctx, s)
	if err := overtaken(ctx, s); err != nil {
		return err
	}
	s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
		"%s is live on %s after %s; %s", hook.ServiceVersion(s.Config.Service, s.Version),
		strings.Join(s.Result(nil).Hosts, ", "), time.Since(began).Round(100*time.Millisecond), back)})
	return nil
}

// overtaken is the error of a release that has done all, and then stood still
// while a newer one deployed. A host that does not answer now changes nothing.
func overtaken(ctx context.Context, s *stages.Session) error {
	all := plan.Targets(s.Config)
	targets, err := plan.Filter(all, s.Roles, s.HostGlobs)
	if err != nil {
		return err
	}
	in := s.Input(targets, all)
	in.Report = report.Multi{}
	_, found, _ := stages.EachHost(ctx, in, targets, func(ctx context.Context, w *stages.Work) (string, error) {
		book, err := w.Guarded(ctx)
		if exit.CodeOf(err) != exit.BadState {
			return "", err
		}
		for _, r := range book.Releases {
			if r.ID > s.Release && len(r.Live) > 0 {
				return r.Version, nil
			}
		}
		return "", nil
	})
	for _, host := range plan.HostNames(targets) {
		if version := found[host]; version != "" {
			return exit.With(exit.BadState, fmt.Errorf("%s was live, and version %s has replaced it on %s since",
				hook.ServiceVersion(s.Config.Service, s.Version), version, host), "kstep status shows what serves now")
		}
	}
	return nil
}
