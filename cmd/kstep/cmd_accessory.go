package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/accessory"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/schema"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/envpush"
)

// configureAccessory declares `kstep accessory …`.
func configureAccessory(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("accessory", "The containers beside the application that no deploy touches, such as databases.")
	for _, one := range []struct {
		name, help string
		act        func(context.Context, stages.Input) ([]state.Target, error)
	}{
		{"boot", "Start accessories that do not run. One that runs with outdated settings is reported and not changed.", bootAccessories},
		{"reboot", "Replace accessories by ones with today's settings and image. Their data stays; they are gone for a moment.", rebootAccessories},
		{"start", "Start accessories that were stopped, as they were made.", onPlaces(func(ctx context.Context, at accessory.Place) error {
			return at.Resume(ctx)
		})},
		{"stop", "Stop accessories; they stay stopped until they are started.", onPlaces(func(ctx context.Context, at accessory.Place) error {
			c, err := at.There(ctx)
			if err != nil {
				return err
			}
			return at.Stop(ctx, c)
		})},
		{"restart", "Stop accessories and start them again, as they were made.", onPlaces(func(ctx context.Context, at accessory.Place) error {
			return at.Restart(ctx)
		})},
	} {
		sub := cmd.Command(one.name, one.help)
		name := accessoryArg(sub).Required().String()
		command := "accessory " + one.name
		actions[command] = p.inSession(command, func(ctx context.Context, s *stages.Session) error {
			return outsideAccessories(ctx, s, command, *name, one.act)
		})
	}
	configureAccessoryShow(p, cmd, actions)
	configureAccessoryRemove(p, cmd, actions)
}

func accessoryArg(cmd *kingpin.CmdClause) *kingpin.ArgClause {
	return cmd.Arg("name", "The accessory's name; all for all of them.")
}

// outsideAccessories does work on the accessories of a name, in the lease but in
// no release.
func outsideAccessories(ctx context.Context, s *stages.Session, command, name string, work func(context.Context, stages.Input) ([]state.Target, error)) error {
	targets, err := accessoriesNamed(s.Config, name)
	if err != nil {
		return err
	}
	return stages.OutsideOn(ctx, s, command, targets, work)
}

// accessoriesNamed are the targets of one accessory, or of all.
func accessoriesNamed(cfg *config.Config, name string) ([]plan.Target, error) {
	all := plan.Accessories(cfg)
	if len(all) == 0 {
		return nil, exit.With(exit.Usage, errors.New("the configuration has no accessories"), "docs/accessories.md shows how to add one")
	}
	if name == config.AllAccessories {
		return all, nil
	}
	if _, ok := cfg.Accessory(name); ok {
		return slices.DeleteFunc(all, func(t plan.Target) bool { return t.Role.Name != name }), nil
	}
	var known []string
	for _, a := range cfg.Accessories.All {
		known = append(known, a.Name)
	}
	hint := "known are " + strings.Join(known, ", ") + ", and all"
	if closest, ok := schema.Closest(name, known); ok {
		hint = fmt.Sprintf("did you mean %s?", closest)
	}
	return nil, exit.With(exit.Usage, fmt.Errorf("unknown accessory %q", name), hint)
}

// onPlaces makes work on each accessory of each host, at once.
func onPlaces(do func(context.Context, accessory.Place) error) func(context.Context, stages.Input) ([]state.Target, error) {
	return func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
			return struct{}{}, do(ctx, placeOf(in, w, nil))
		})
		return records, err
	}
}

// placeOf is where a target's accessory is. uploads are the contents of the
// files of all accessories that are about to be made or compared.
func placeOf(in stages.Input, w *stages.Work, uploads map[string]accessory.Uploads) accessory.Place {
	a, known := in.Config.Accessory(w.Target.Role.Name)
	if !known { // It is about to be removed.
		a.Name = w.Target.Role.Name
	}
	return accessory.Place{
		Host: w.Host, Names: w.Names, Config: in.Config, Accessory: a, Uploads: uploads[a.Name],
		Did:  w.Did,
		Pull: func(ctx context.Context) error { return pullAccessory(ctx, in, w, a) },
	}
}

// uploadsFor reads the files of the targets' accessories from this machine.
func uploadsFor(cfg *config.Config, targets []plan.Target) (map[string]accessory.Uploads, error) {
	all := map[string]accessory.Uploads{}
	var errs []error
	for _, t := range targets {
		if _, done := all[t.Role.Name]; done {
			continue
		}
		a, _ := cfg.Accessory(t.Role.Name)
		uploads, err := accessory.Local(cfg, a)
		all[a.Name] = uploads
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// made is work that makes containers: their environments are on the hosts
// before.
func made(ctx context.Context, in stages.Input, do func(context.Context, accessory.Place) (engine.Container, error)) ([]state.Target, error) {
	uploads, err := uploadsFor(in.Config, in.Targets)
	if err != nil {
		return nil, err
	}
	pushed, err := envpush.Refresh(ctx, in)
	if err != nil {
		return pushed, err
	}
	records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		c, err := do(ctx, placeOf(in, w, uploads))
		if c.ID != "" {
			w.Containers = []string{c.ID}
		}
		if err == nil && len(w.Changes()) == 0 {
			w.Say("%s runs", c.Name)
		}
		return struct{}{}, err
	})
	return stages.Merge(pushed, records), err
}

func bootAccessories(ctx context.Context, in stages.Input) ([]state.Target, error) {
	return made(ctx, in, func(ctx context.Context, at accessory.Place) (engine.Container, error) {
		c, err := at.Boot(ctx)
		if _, differs := errors.AsType[*accessory.DifferentError](err); differs {
			err = exit.With(exit.Failed, err, "kstep accessory reboot "+at.Accessory.Name+" replaces it by one with today's settings")
		}
		return c, err
	})
}

func rebootAccessories(ctx context.Context, in stages.Input) ([]state.Target, error) {
	return made(ctx, in, func(ctx context.Context, at accessory.Place) (engine.Container, error) {
		if err := at.Pull(ctx); err != nil {
			if _, there := at.Host.Engine().Image(ctx, at.Accessory.Image); there != nil {
				return engine.Container{}, err
			}
			in.Warn("%s; %s goes on with the image that is there", err, at.Host.Name())
		}
		return at.Reboot(ctx)
	})
}

// setupAccessories boots all accessories before the first deploy. It replaces
// none: a database that runs is not for `setup` to stop.
func setupAccessories(ctx context.Context, s *stages.Session) error {
	targets := plan.Accessories(s.Config)
	if len(targets) == 0 || len(s.Roles) > 0 {
		return nil
	}
	if _, err := plan.Filter(targets, nil, s.HostGlobs); err != nil {
		return nil //nolint:nilerr // None is on these hosts; whether any role is, the deploy tells.
	}
	return stages.OutsideOn(ctx, s, "accessory boot", targets, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		return made(ctx, in, func(ctx context.Context, at accessory.Place) (engine.Container, error) {
			c, err := at.Boot(ctx)
			if differs, ok := errors.AsType[*accessory.DifferentError](err); ok {
				in.Warn("%s: %s; kstep accessory reboot %s replaces it", at.Host.Name(), differs, at.Accessory.Name)
				err = nil
			}
			return c, err
		})
	})
}

// pullAccessory brings an accessory's image to the host, with the login that its
// registry needs.
func pullAccessory(ctx context.Context, in stages.Input, w *stages.Work, a config.Accessory) error {
	before, err := w.Host.Engine().Image(ctx, a.Image)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	if err := in.PullOn(w)(ctx, a.Image); err != nil {
		return err
	}
	if now, err := w.Host.Engine().Image(ctx, a.Image); err != nil || now.ID != before.ID {
		w.Did("pulled %s", a.Image)
	}
	return nil
}
