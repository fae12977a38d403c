package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureAppRestart declares `kstep app restart`: the pipeline from push on,
// with the image of the version in service, which the hosts have.
func configureAppRestart(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	cmd.Command("restart", "Replace every container in service by a new one of the same version, without downtime: readiness, barrier and cutover as in a deploy, without build, registry and tasks.")
	flags := &stageFlags{again: true, goesBack: true, anew: true}
	actions["app restart"] = func(ctx context.Context) error { return p.deploy(ctx, "app restart", flags, chooseLive) }
}

// chooseLive finds the version in service. It has to be one: where there are two,
// a restart would decide between them.
func chooseLive(ctx context.Context, s *stages.Session) error {
	in, view, err := history(ctx, s)
	if err != nil {
		return err
	}
	s.Chosen(view)
	live := slices.DeleteFunc(view.Past(), func(p stages.Past) bool { return len(p.Live) == 0 })
	switch len(live) {
	case 0:
		return exit.Hint(errors.New("nothing is in service"), "kstep deploy")
	case 1:
	default:
		var names []string
		for _, p := range live {
			names = append(names, p.Version+" on "+strings.Join(p.Live, ", "))
		}
		return exit.With(exit.Failed, errors.New("several versions are in service: "+strings.Join(names, "; ")),
			"kstep deploy or kstep rollback VERSION brings one to all hosts", "--hosts and --roles choose some of them")
	}
	pushed, err := live[0].Pushed(ctx, in)
	pushed.Retained, pushed.Anew = false, true
	s.Options.Retained = &pushed
	s.Resolve = func(context.Context) (string, state.Source, error) { return live[0].Version, state.Source{}, nil }
	return err
}
