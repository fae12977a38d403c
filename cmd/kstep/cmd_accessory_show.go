package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/accessory"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// configureAccessoryShow declares what of `kstep accessory …` changes nothing
// of the containers: no lease is needed.
func configureAccessoryShow(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	details := cmd.Command("details", "Show the accessories on every host: image, state, and whether their settings are today's.")
	shown := accessoryArg(details).Default(config.AllAccessories).String()
	actions["accessory details"] = p.look("accessory details", func(ctx context.Context, s *stages.Session) error {
		return p.accessoryDetails(ctx, s, *shown)
	})

	logs := cmd.Command("logs", "Show what accessories have written.")
	logged := accessoryArg(logs).Required().String()
	flags := &logFlags{}
	flags.declare(logs)
	actions["accessory logs"] = p.look("accessory logs", func(ctx context.Context, s *stages.Session) error {
		return p.accessoryLogs(ctx, s, *logged, flags)
	})

	exec := cmd.Command("exec", "Run a program in the running containers of an accessory, without a shell, and show what it prints. Put -- before it: kstep accessory exec db -- psql -l.")
	in := accessoryArg(exec).Required().String()
	interactive := interactiveFlag(exec)
	argv := exec.Arg("program", "The program and its arguments.").Required().Strings()
	actions["accessory exec"] = p.inSession("accessory exec", func(ctx context.Context, s *stages.Session) error {
		return accessoryExec(ctx, s, *in, *argv, p.runner(*interactive))
	})
}

// accessoriesIn are the accessories of a name that the filters leave.
func accessoriesIn(ctx context.Context, s *stages.Session, name string) (stages.Input, error) {
	targets, err := accessoriesNamed(s.Config, name)
	if err != nil {
		return stages.Input{}, err
	}
	if targets, err = plan.Filter(targets, s.Roles, s.HostGlobs); err != nil {
		return stages.Input{}, err
	}
	s.Hosts.Warm(ctx, plan.HostNames(targets))
	return s.Input(targets, targets), nil
}

// accessoryStatus is a line of `kstep accessory details`.
type accessoryStatus struct {
	Host      string    `json:"host"`
	Accessory string    `json:"accessory"`
	Name      string    `json:"name,omitempty"`
	Container string    `json:"container,omitempty"`
	Image     string    `json:"image,omitempty"`
	State     string    `json:"state,omitempty"` // Empty where there is none.
	Health    string    `json:"health,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	// Differs are the keys whose settings are not today's.
	Differs []string `json:"differs,omitempty"`
	// Unknown is why that is not known.
	Unknown string `json:"unknown,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (p *program) accessoryDetails(ctx context.Context, s *stages.Session, name string) error {
	in, err := accessoriesIn(ctx, s, name)
	if err != nil {
		return err
	}
	all, err := observeAccessories(ctx, in)
	if p.global.output == "json" {
		return errors.Join(err, p.encode(map[string]any{"accessories": all}))
	}
	return errors.Join(err, p.printAccessories(all))
}

// observeAccessories looks at the accessories on all hosts and changes nothing.
func observeAccessories(ctx context.Context, in stages.Input) ([]accessoryStatus, error) {
	records, found, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (accessoryStatus, error) {
		return observeAccessory(ctx, placeOf(in, w, nil))
	})
	var all []accessoryStatus
	for i, t := range in.Targets {
		one := found[t.Key()]
		one.Host, one.Accessory = t.Host, t.Role.Name
		if e := records[i].Error; e != nil {
			one.Error = e.Message
		}
		all = append(all, one)
	}
	return all, err
}

func observeAccessory(ctx context.Context, at accessory.Place) (accessoryStatus, error) {
	seen, err := at.Look(ctx)
	if err != nil || !seen.There {
		return accessoryStatus{}, err
	}
	c, err := at.Host.Engine().Inspect(ctx, seen.Container.ID)
	if err != nil {
		return accessoryStatus{}, err
	}
	one := accessoryStatus{Name: c.Name, Container: c.ID, Image: c.Image, State: c.State, Health: c.Health, Since: c.Started}
	if at.Uploads, err = accessory.Local(at.Config, at.Accessory); err != nil {
		one.Unknown = err.Error() // The files are optional here.
		return one, nil
	}
	spec, _, err := at.Wanted(ctx)
	if err == nil {
		one.Differs = plan.Drift(c, spec)
	}
	return one, err
}

func (p *program) printAccessories(all []accessoryStatus) error {
	t := p.table("HOST", "ACCESSORY", "CONTAINER", "IMAGE", "STATE", "SINCE (UTC)", "SETTINGS")
	for _, one := range all {
		t.row(one.Host, one.Accessory, one.Name, one.Image, condition(one.State, one.Health, one.Error), dated(one.Since), one.settings())
	}
	return t.end()
}

func (a accessoryStatus) settings() string {
	switch {
	case a.State == "":
		return ""
	case a.Unknown != "":
		return "not known: its files are not here"
	case len(a.Differs) > 0:
		return "differ: " + strings.Join(a.Differs, ", ")
	}
	return "as configured"
}

func (p *program) accessoryLogs(ctx context.Context, s *stages.Session, name string, flags *logFlags) error {
	in, err := accessoriesIn(ctx, s, name)
	if err != nil {
		return err
	}
	return p.showLogs(ctx, s, in, flags, logSource{
		find: func(ctx context.Context, w *stages.Work) ([]engine.Container, error) {
			return single(placeOf(in, w, nil).There(ctx))
		},
		later: func(w *stages.Work) engine.Filter {
			place := placeOf(in, w, nil)
			return engine.Filter{Names: []string{place.Names.Accessory(place.Accessory)}}
		},
	})
}

func accessoryExec(ctx context.Context, s *stages.Session, name string, argv []string, run runner) error {
	in, err := accessoriesIn(ctx, s, name)
	if err != nil {
		return err
	}
	return run(ctx, s, in, argv, func(ctx context.Context, w *stages.Work) (engine.Container, error) {
		return placeOf(in, w, nil).Running(ctx)
	})
}
