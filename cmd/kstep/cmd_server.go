package main

import (
	"context"
	"fmt"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/bootstrap"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureServer declares `kstep server …` and `kstep setup`.
func configureServer(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("server", "The hosts themselves.")
	cmd.Command("bootstrap", "Install and start a Docker engine where none answers, then run the docker-setup hook.")
	actions["server bootstrap"] = p.inSession("server bootstrap", serverBootstrap)

	configureExec(p, cmd, actions)

	setup := app.Command("setup", "Make new hosts ready and deploy to them: server bootstrap, accessory boot, then deploy. Safe to run again.")
	flags := &stageFlags{}
	flags.first(setup)
	flags.ready(setup)
	flags.without(setup)
	actions["setup"] = func(ctx context.Context) error {
		return p.deploy(ctx, "setup", flags, serverBootstrap, setupAccessories)
	}
}

// serverBootstrap makes sure of an engine on every host, before there is any
// container there (S5).
func serverBootstrap(ctx context.Context, s *stages.Session) error {
	script, err := bootstrapScript(s.Config)
	if err != nil {
		return err
	}
	return stages.OutsideOn(ctx, s, "server bootstrap", everything(s), func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		ensure := func(ctx context.Context, w *stages.Work) (struct{}, error) {
			info, did, err := bootstrap.Ensure(ctx, w.Host, script, func() { s.Hosts.Renew(w.Target.Host) })
			if err != nil {
				return struct{}{}, err
			}
			if did != "" {
				w.Did("%s", did)
			}
			w.Say("engine %s answers (API %s)", info.Version, info.APIVersion)
			return struct{}{}, nil
		}
		records, _, err := stages.EachHost(ctx, in, in.Targets, ensure)
		if err != nil {
			return records, err
		}
		return records, dockerSetup(ctx, s, in)
	})
}

// dockerSetup runs the hook. It may well restart the engines, so they have to
// answer afterwards.
func dockerSetup(ctx context.Context, s *stages.Session, in stages.Input) error {
	if found, err := s.Hooks.Find("docker-setup"); found == "" || s.Hooks.Skip || err != nil {
		return err
	}
	err := s.Hooks.Run(ctx, "docker-setup", hook.Details{
		Performer: s.By, Service: s.Config.Service, Destination: s.Config.Destination,
		Hosts: plan.HostNames(in.Targets), Command: s.Command, Subcommand: s.Subcommand, StateDir: s.Dir.Path(),
	})
	if err != nil {
		return err
	}
	_, _, err = stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if _, err := bootstrap.Await(ctx, w.Host); err != nil {
			return struct{}{}, fmt.Errorf("after the hook docker-setup: %w", err)
		}
		return struct{}{}, nil
	})
	return err
}

// bootstrapScript is the user's own, or kstep's.
func bootstrapScript(cfg *config.Config) ([]byte, error) {
	if cfg.Bootstrap.Script == "" {
		return bootstrap.Script, nil
	}
	script, err := os.ReadFile(cfg.Local(cfg.Bootstrap.Script))
	if err != nil {
		return nil, exit.With(exit.Config, fmt.Errorf("bootstrap.script: %w", err))
	}
	return script, nil
}
