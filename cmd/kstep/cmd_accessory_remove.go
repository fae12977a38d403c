package main

import (
	"context"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/accessory"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureAccessoryRemove declares `kstep accessory remove`.
func configureAccessoryRemove(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	remove := cmd.Command("remove", "Remove accessories: their containers, env files and uploaded files. Their data stays, unless --data is given.")
	name := accessoryArg(remove).Required().String()
	yes := remove.Flag("yes", "Confirm the removal; without it nothing is removed.").Short('y').Bool()
	data := remove.Flag("data", "Also remove their directories below the run directory, and volumes without a name of their own. This cannot be undone.").Bool()
	actions["accessory remove"] = p.inSession("accessory remove", func(ctx context.Context, s *stages.Session) error {
		targets, err := removable(ctx, s, *name)
		if err != nil {
			return err
		}
		if !*yes {
			return unconfirmed(s, targets, *data)
		}
		return stages.OutsideOn(ctx, s, "accessory remove", targets, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
			return removeAccessories(ctx, in, *data)
		})
	})
}

// removable are the targets of an accessory: where it is configured, and where it
// has a container although it is not any more.
func removable(ctx context.Context, s *stages.Session, name string) ([]plan.Target, error) {
	targets, unknown := accessoriesNamed(s.Config, name)
	if name == config.AllAccessories {
		return targets, unknown
	}
	hosts := everything(s)
	s.Hosts.Warm(ctx, plan.HostNames(hosts))
	left, err := stages.FindLeftAccessories(ctx, s.Input(hosts, hosts))
	if err != nil {
		return nil, err
	}
	for _, one := range left {
		if one.Name == name {
			targets = append(targets, plan.Target{Host: one.Host, Role: config.Role{Name: name}, Accessory: true})
		}
	}
	if len(targets) == 0 {
		return nil, unknown
	}
	return targets, nil
}

// unconfirmed shows what would be removed.
func unconfirmed(s *stages.Session, targets []plan.Target, data bool) error {
	targets, err := plan.Filter(targets, s.Roles, s.HostGlobs)
	if err != nil {
		return err
	}
	what := "their data would stay"
	if data {
		what = "their data too"
	}
	return wantsYes("%s; %s", strings.Join(plan.Keys(targets), ", "), what)
}

func removeAccessories(ctx context.Context, in stages.Input, data bool) ([]state.Target, error) {
	records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if _, err := w.Guarded(ctx); err != nil {
			return struct{}{}, err
		}
		kept, err := placeOf(in, w, nil).Remove(ctx, data)
		tellKept(w, kept)
		return struct{}{}, err
	})
	return records, err
}

func tellKept(w *stages.Work, kept accessory.Kept) {
	for _, folder := range kept.Directories {
		w.Say("%s stays", folder)
	}
	for _, volume := range kept.Volumes {
		w.Say("volume %s stays", short.Of(volume))
	}
}
