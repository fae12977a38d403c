package main

import (
	"context"
	"errors"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/stages"
)

var errDiffers = errors.New("the proxy runs with other settings than the configuration has")

// configureProxy declares `kstep proxy …`.
func configureProxy(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("proxy", "The proxy on the hosts of proxied roles. Also: kstep traefik.").Alias("traefik")
	cmd.Command("boot", "Start the proxy where it does not run.")
	actions["proxy boot"] = p.onProxies("proxy boot", func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		return eachProxy(ctx, s, targets, func(ctx context.Context, w *stages.Work) (proxy.Booted, error) {
			booted, err := proxy.Boot(ctx, w.Host, s.Config, w.Names, s.PullOn(w))
			if err == nil {
				err = w.Routable(ctx, booted.Container)
			}
			if err == nil {
				var joined []string
				joined, err = proxy.Join(ctx, w.Host, booted.Container)
				booted.Changed = append(booted.Changed, joined...)
			}
			if err == nil && booted.Differs {
				err = exit.With(exit.Failed, errDiffers, "kstep proxy reboot starts it anew")
			}
			return booted, err
		})
	})

	reboot := cmd.Command("reboot", "Replace the proxy, with the current settings. Requests to that host fail during the restart.")
	rolling := reboot.Flag("rolling", "One host after the other, with the hooks around each.").Bool()
	actions["proxy reboot"] = p.onProxies("proxy reboot", func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		groups := [][]plan.Target{targets}
		if *rolling {
			groups = slices.Collect(slices.Chunk(targets, 1))
		}
		for _, group := range groups {
			if err := rebootGroup(ctx, s, group); err != nil {
				return err
			}
		}
		return nil
	})
	configureProxyHands(p, cmd, actions)
}

// oneHost makes work on several hosts of work on one.
func oneHost(do func(context.Context, *stages.Session, *stages.Work) (proxy.Booted, error)) func(context.Context, *stages.Session, []plan.Target) error {
	return func(ctx context.Context, s *stages.Session, targets []plan.Target) error {
		return eachProxy(ctx, s, targets, func(ctx context.Context, w *stages.Work) (proxy.Booted, error) { return do(ctx, s, w) })
	}
}

// onProxies makes an action of work on every host that has a proxied role, each
// once.
func (p *program) onProxies(command string, work func(context.Context, *stages.Session, []plan.Target) error) action {
	return p.inSession(command, func(ctx context.Context, s *stages.Session) error {
		all, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
		if err != nil {
			return err
		}
		hosts := proxied(all)
		if len(hosts) == 0 {
			return exit.Errorf(exit.Usage, "no proxied role runs on the hosts that the filters leave")
		}
		if err := s.Survey(ctx, plan.HostNames(hosts)); err != nil {
			return err
		}
		return work(ctx, s, hosts)
	})
}

// proxied has one target for each host that has a proxy.
func proxied(targets []plan.Target) []plan.Target {
	var hosts []plan.Target
	for _, t := range targets {
		known := slices.ContainsFunc(hosts, func(h plan.Target) bool { return h.Host == t.Host })
		if t.Proxied && !known {
			hosts = append(hosts, t)
		}
	}
	return hosts
}

// rebootGroup reboots the proxies of some hosts, with the hooks that take the
// hosts out of an external load balancer and put them back (S6).
func rebootGroup(ctx context.Context, s *stages.Session, group []plan.Target) error {
	details := hook.Details{
		Performer: s.By, Service: s.Config.Service, Destination: s.Config.Destination,
		Hosts: plan.HostNames(group), Command: "proxy", Subcommand: "reboot", StateDir: s.Dir.Path(),
	}
	if err := s.Hooks.Run(ctx, "pre-traefik-reboot", details); err != nil {
		return err
	}
	err := eachProxy(ctx, s, group, func(ctx context.Context, w *stages.Work) (proxy.Booted, error) {
		if err := w.DropsRoutes(); err != nil {
			return proxy.Booted{}, err
		}
		return proxy.Reboot(ctx, w.Host, s.Config, w.Names, s.PullOn(w))
	})
	if err != nil {
		return err
	}
	return s.Hooks.Run(ctx, "post-traefik-reboot", details)
}

// eachProxy works on the hosts and reports what was done.
func eachProxy(ctx context.Context, s *stages.Session, targets []plan.Target, do func(context.Context, *stages.Work) (proxy.Booted, error)) error {
	records, _, err := stages.EachHost(ctx, s.Input(targets, targets), targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		booted, err := do(ctx, w)
		for _, what := range booted.Changed {
			w.Did("%s", what)
		}
		if err == nil && len(booted.Changed) == 0 {
			w.Say("%s", booted.Still())
		}
		return struct{}{}, err
	})
	s.Audit(ctx, called(s), records)
	return err
}
