package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureRollback declares `kstep rollback`: the pipeline from push on, with
// the containers and the image that the hosts retained.
func configureRollback(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("rollback", "Go back to a version that served before: its own containers start again, as they were.")
	flags := &stageFlags{again: true, goesBack: true}
	cmd.Arg("version", "The version to go back to; default: the latest before this one that all hosts are ready for (kstep releases).").StringVar(&flags.version)
	fresh := cmd.Flag("fresh", "Make new containers of the version's image, with the configuration of now.").Bool()
	actions["rollback"] = func(ctx context.Context) error {
		return p.deploy(ctx, "rollback", flags, func(ctx context.Context, s *stages.Session) error {
			return choose(ctx, s, flags.version, *fresh)
		})
	}
}

// choose finds what to go back to, before anything is touched.
func choose(ctx context.Context, s *stages.Session, version string, fresh bool) error {
	in, past, err := history(ctx, s)
	if err != nil {
		return err
	}
	under, begun, goesOn := s.Unfinished(ctx)
	goesOn = goesOn && begun.Retained != fresh && (version == "" || version == under)
	if goesOn {
		version = under
	}
	to, err := pick(past, version, fresh, goesOn)
	if err != nil {
		return err
	}
	if goesOn {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: "going on with the rollback to " + version + " that did not come to its end"})
	}
	s.Resolve = func(context.Context) (string, state.Source, error) { return to.Version, state.Source{}, nil }
	if fresh {
		s.Options.Image = s.Config.Repository() + ":" + to.Version
		return nil
	}
	if then := to.Config(s.Config); then != s.Config {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
			"version %s had other roles than kstep.yml has now: it comes back as %s", to.Version, strings.Join(plan.Keys(to.Targets), ", "))})
		s.Config = then
	}
	pushed := begun
	if !goesOn {
		pushed, err = to.Pushed(ctx, in)
	}
	s.Options.Retained = &pushed
	return err
}

// history is what the hosts can go back to, and what was asked.
func history(ctx context.Context, s *stages.Session) (stages.Input, []stages.Past, error) {
	in, err := looking(s)
	if err != nil {
		return in, nil, err
	}
	s.Warm(ctx)
	past, err := stages.History(ctx, in)
	return in, past, err
}

// pick is the version that was asked for, or else the latest that does not
// serve now and could. A fresh one needs nothing on the hosts, and one that was
// begun was found ready then.
func pick(past []stages.Past, version string, fresh, begun bool) (stages.Past, error) {
	at := slices.IndexFunc(past, func(p stages.Past) bool {
		if version != "" {
			return p.Version == version
		}
		return len(p.Live) == 0 && (fresh || p.Everywhere())
	})
	if at < 0 && version != "" && fresh {
		return stages.Past{Version: version}, nil
	}
	if at < 0 {
		what := "no earlier version is ready on all hosts"
		if version != "" {
			what = "no host knows version " + version
		}
		return stages.Past{}, exit.With(exit.Failed, fmt.Errorf("cannot go back: %s", what), ways(past)...)
	}
	if to := past[at]; fresh || begun || to.Everywhere() {
		return to, nil
	}
	return stages.Past{}, exit.With(exit.Failed, fmt.Errorf("cannot go back to %s: %s", version, past[at].Why()), ways(past)...)
}

// ways tells what can be done instead.
func ways(past []stages.Past) []string {
	hints := []string{"kstep rollback --fresh VERSION makes new containers, while the registry has the image"}
	for _, p := range past {
		if p.Everywhere() && len(p.Live) == 0 {
			return append([]string{"ready on all hosts: kstep rollback " + p.Version}, hints...)
		}
	}
	return append([]string{"kstep releases shows what each host can go back to"}, hints...)
}

// looking is the input of what only looks at hosts.
func looking(s *stages.Session) (stages.Input, error) {
	all := plan.Targets(s.Config)
	targets, err := plan.Filter(all, s.Roles, s.HostGlobs)
	return s.Input(all, targets), err
}
