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
	actions["deploy"] = func(ctx context.Context) error {
		return p.deploy(ctx, "deploy", flags)
	}
}

// configureRollback declares `kstep rollback`: the pipeline from push on, with
// an image that the registry has already. The containers of that version are
// still on the hosts, unless pruned, and are started again.
func configureRollback(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("rollback", "Go back to a version that was deployed before.")
	flags := &stageFlags{newRelease: true, skipTasks: true}
	cmd.Arg("version", "The version to go back to.").Required().StringVar(&flags.version)
	actions["rollback"] = func(ctx context.Context) error {
		cfg, err := p.loadConfig()
		if err != nil {
			return err
		}
		flags.image = cfg.Repository() + ":" + flags.version
		if err := p.deploy(ctx, "rollback", flags); err != nil {
			if exit.CodeOf(err) == exit.Registry {
				err = exit.Hint(err, fmt.Sprintf("a version can be gone back to while the registry has %s", flags.image))
			}
			return err
		}
		return nil
	}
}

// deploy runs the pipeline, after what has to come before.
func (p *program) deploy(ctx context.Context, command string, flags *stageFlags, before ...func(context.Context, *stages.Session) error) error {
	chain := pipeline()
	if flags.image != "" { // A ready image: nothing to build.
		chain = slices.DeleteFunc(chain, func(s stages.Stage) bool { return s.Info().Name == "build" })
	}
	began := time.Now()
	return p.withSession(ctx, command, flags.version, flags.options(), func(ctx context.Context, s *stages.Session) (err error) {
		for _, do := range before {
			if err := do(ctx, s); err != nil {
				return err
			}
		}
		s.KeepLease = true
		defer func() { err = errors.Join(err, s.FreeLease(ctx)) }()
		for i, stage := range chain {
			if chain[min(i+1, len(chain)-1)].Info().Hosts {
				s.Warm(ctx) // The connections are there when the next stage begins.
			}
			file, failed := stages.Execute(ctx, stage, s)
			if failed == nil {
				continue
			}
			err = errors.Join(err, failed)
			if !stage.Info().Enough || file == nil || file.Status != state.Partial {
				return exit.With(exit.CodeOf(failed), err)
			}
			s.Resume = true // What is ready goes on; the end tells of the rest.
		}
		if err == nil {
			s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
				"%s is live on %s after %s", hook.ServiceVersion(s.Config.Service, s.Version),
				strings.Join(s.Result(nil).Hosts, ", "), time.Since(began).Round(100*time.Millisecond))})
		}
		return err
	})
}
