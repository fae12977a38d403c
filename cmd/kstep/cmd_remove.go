package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/remove"
)

// configureRemove declares `kstep remove`: the end of a service, or of a host.
func configureRemove(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("remove", "Take the service off its hosts: containers, routes, images, environments, assets and what kstep remembers of releases. Accessories, the proxy and the audit log stay. With --hosts also off a host that has left kstep.yml.")
	yes := cmd.Flag("yes", "Confirm the removal; without it nothing is removed.").Short('y').Bool()
	forget := cmd.Flag("forget", "Stop warning about hosts that are no longer in kstep.yml, without connecting to them. For machines that no longer exist.").Bool()
	actions["remove"] = p.inSession("remove", func(ctx context.Context, s *stages.Session) error {
		if len(s.Roles) > 0 {
			return exit.With(exit.Usage, fmt.Errorf("--roles: a service is removed from a host as a whole"), "choose hosts with --hosts")
		}
		all, left, err := removableHosts(ctx, s)
		if err != nil {
			return err
		}
		targets, err := plan.Filter(all, nil, s.HostGlobs)
		if err != nil {
			return err
		}
		hosts := plan.HostNames(targets)
		if *forget {
			return forgetHosts(ctx, s, hosts, left)
		}
		if !*yes {
			return wantsYes("%s from %s, and nothing could be rolled back to there", serviceName(s), strings.Join(hosts, ", "))
		}
		return stages.OutsideOn(ctx, s, "remove", all, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
			return removeFrom(ctx, in, left)
		})
	})
}

// removableHosts are the targets of the configuration and, if the filter names a
// host that is not among them, the hosts that the ledgers know besides.
func removableHosts(ctx context.Context, s *stages.Session) (all []plan.Target, left []string, err error) {
	all = plan.Targets(s.Config)
	if _, err := plan.Filter(all, nil, s.HostGlobs); err == nil {
		return all, nil, nil
	}
	s.Hosts.Warm(ctx, plan.HostNames(all))
	if left, err = stages.FindLeftHosts(ctx, s.Input(all, all)); err != nil {
		return nil, nil, err
	}
	for _, host := range left {
		all = append(all, plan.Target{Host: host})
	}
	return all, left, nil
}

// removeFrom removes the service from the hosts of the targets. Those that keep
// it then forget them.
func removeFrom(ctx context.Context, in stages.Input, left []string) ([]state.Target, error) {
	var records []state.Target
	err := otherMachines(ctx, in, left)
	if err == nil {
		records, err = remove.Run(ctx, in)
	}
	chosen := slices.DeleteFunc(plan.HostNames(in.Targets), func(h string) bool { return !slices.Contains(left, h) })
	if exit.CodeOf(err) == exit.Unreachable && len(chosen) > 0 {
		err = exit.Hint(err, "if the machine no longer exists: "+stages.Command(in.Config, "remove --hosts "+strings.Join(chosen, ",")+" --forget"))
	}
	if err != nil {
		return records, err
	}
	forgotten, err := forget(ctx, in, plan.HostNames(in.Targets))
	return append(records, forgotten...), err
}

// forgetHosts makes the ledgers forget hosts that have left the configuration.
func forgetHosts(ctx context.Context, s *stages.Session, hosts, left []string) error {
	for _, host := range hosts {
		if !slices.Contains(left, host) {
			return exit.With(exit.Usage, fmt.Errorf("--forget: %s is in kstep.yml", host), "take it out of kstep.yml first, or leave out --forget")
		}
	}
	s.HostGlobs = nil
	return stages.Outside(ctx, s, "remove", func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		return forget(ctx, in, hosts)
	})
}

// forget removes hosts from the ledgers of the others.
func forget(ctx context.Context, in stages.Input, hosts []string) ([]state.Target, error) {
	rest := in
	rest.All = slices.DeleteFunc(slices.Clone(in.All), func(t plan.Target) bool { return t.Role.Name == "" })
	rest.Targets = slices.DeleteFunc(slices.Clone(rest.All), func(t plan.Target) bool { return slices.Contains(hosts, t.Host) })
	records, _, err := stages.EachHost(ctx, rest, rest.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		return struct{}{}, w.ForgetHosts(ctx, rest, hosts)
	})
	return records, err
}

// otherMachines refuses to remove the service from a host that has left the
// configuration if it is a configured one under another name.
func otherMachines(ctx context.Context, in stages.Input, left []string) error {
	if len(left) == 0 {
		return nil
	}
	_, ids, err := stages.EachHost(ctx, in, in.All, func(ctx context.Context, w *stages.Work) ([]string, error) {
		if !slices.Contains(left, w.Target.Host) || slices.ContainsFunc(in.Targets, func(t plan.Target) bool { return t.Host == w.Target.Host }) {
			containers, err := w.Host.Engine().Containers(ctx, engine.Filter{All: true})
			return engine.IDs(containers), err
		}
		return nil, nil // A host that left too, and stays.
	})
	if err != nil {
		return err
	}
	for _, gone := range left {
		for _, host := range plan.HostNames(in.All) {
			same := slices.ContainsFunc(ids[gone], func(id string) bool { return slices.Contains(ids[host], id) })
			if same && !slices.Contains(left, host) {
				return exit.With(exit.Config, fmt.Errorf("%s is the same machine as %s, which is in kstep.yml: nothing was removed", gone, host),
					stages.Command(in.Config, "remove --hosts "+gone+" --forget")+" ends the warning")
			}
		}
	}
	return nil
}

// wantsYes refuses a removal without confirmation, and says what it would remove.
func wantsYes(format string, args ...any) error {
	return exit.With(exit.Usage, fmt.Errorf("nothing was removed: this would remove "+format, args...), "add --yes to do it")
}

// serviceName is the service, with its destination if it has one.
func serviceName(s *stages.Session) string {
	if s.Config.Destination == "" {
		return s.Config.Service
	}
	return s.Config.Service + " (" + s.Config.Destination + ")"
}
