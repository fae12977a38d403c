package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/stages"
)

// configureProxy declares `kstep proxy …`.
func configureProxy(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("proxy", "The proxy on the hosts of proxied roles.")
	cmd.Command("boot", "Start the proxy where it does not run.")
	actions["proxy boot"] = func(ctx context.Context) error {
		return p.withSession(ctx, "proxy", "", stages.Options{}, func(ctx context.Context, s *stages.Session) error {
			targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
			if err != nil {
				return err
			}
			targets = slices.DeleteFunc(targets, func(t plan.Target) bool { return !t.Proxied })
			if len(targets) == 0 {
				return exit.Errorf(exit.Usage, "no proxied role runs on the hosts that the filters leave")
			}
			in := stages.Input{Config: s.Config, Hosts: s.Hosts, Report: s.Report, Secrets: s.Secrets}
			_, _, err = stages.EachHost(ctx, in, targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
				booted, err := proxy.Boot(ctx, w.Host, s.Config, w.Names)
				for _, what := range booted.Changed {
					w.Did("%s", what)
				}
				if err == nil && len(booted.Changed) == 0 {
					w.Say("%s runs", plan.ProxyContainer)
				}
				if booted.Differs {
					err = fmt.Errorf("the proxy runs with other settings than the config asks for; remove the container %s and boot again", plan.ProxyContainer)
				}
				return struct{}{}, err
			})
			return err
		})
	}
}
