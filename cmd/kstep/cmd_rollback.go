package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/config"
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
	cmd.Arg("version", "The version to go back to, or the beginning of its name; default: the latest before this one that was not rolled back and that all hosts are ready for (kstep releases).").StringVar(&flags.version)
	fresh := cmd.Flag("fresh", "Make new containers of the version's image, with the current configuration.").Bool()
	actions["rollback"] = func(ctx context.Context) error {
		return p.deploy(ctx, "rollback", flags, func(ctx context.Context, s *stages.Session) error {
			return choose(ctx, s, flags.version, *fresh)
		})
	}
}

// choose finds what to go back to, before anything is touched.
func choose(ctx context.Context, s *stages.Session, version string, fresh bool) error {
	in, view, err := history(ctx, s)
	if err != nil {
		return err
	}
	past := view.Past()
	if version == "" {
		s.Chosen(view)
	}
	under, begun, goesOn := s.Unfinished(ctx)
	goesOn = goesOn && !begun.Anew && begun.Retained != fresh && strings.HasPrefix(under, version)
	if goesOn {
		version = under
	}
	to, passed, err := pick(past, version, fresh, goesOn, s.Config.Direct())
	if err != nil {
		return err
	}
	if goesOn {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: "going on with the rollback to " + version + " that did not come to its end"})
	}
	for _, p := range passed {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
			"version %s served later than %s, but is not ready: %s", p.Version, to.Version, p.Why())})
	}
	s.Resolve = func(context.Context) (string, state.Source, error) { return to.Version, state.Source{}, nil }
	if fresh && !to.Direct() && !s.Config.Direct() {
		s.Options.Image = s.Config.Repository() + ":" + to.Version
		return nil
	}
	if to.Stale() != "" && !fresh {
		in.Warn("version %s was %s", to.Version, to.Stale())
	}
	if then := to.Config(s.Config); then != s.Config && !fresh {
		s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Notice, Message: fmt.Sprintf(
			"version %s had other roles, ports or health check paths than kstep.yml has now: it comes back as %s", to.Version, asBefore(s.Config, then, to.Targets))})
		s.Config = then
	}
	pushed := begun
	if !goesOn {
		pushed, err = to.Pushed(ctx, in)
		pushed.Retained = !fresh
	}
	s.Options.Retained = &pushed
	return err
}

// history is what the hosts can go back to, and the input of the look at them.
func history(ctx context.Context, s *stages.Session) (stages.Input, stages.View, error) {
	in, err := looking(s)
	if err != nil {
		return in, stages.View{}, err
	}
	s.Warm(ctx)
	view, err := stages.LookAll(ctx, in)
	return in, view, err
}

// pick is the version that was named, by its beginning if that is enough, or else
// the one that stages.Previous goes to. A fresh one needs nothing on the
// hosts, and one that was begun was found ready then.
func pick(past []stages.Past, version string, fresh, begun, direct bool) (to stages.Past, passed []stages.Past, err error) {
	if version == "" {
		ok := false
		if to, passed, ok = stages.Previous(past); fresh {
			passed = nil
			to, ok = stages.PreviousFresh(past, direct)
		}
		if !ok {
			return to, nil, cannotGoBack(past, "no earlier version is ready on all hosts", passed...)
		}
		return to, passed, nil
	}
	to, err = named(past, version)
	switch {
	case err != nil:
		return to, nil, err
	case to.Version == "" && fresh:
		return stages.Past{Version: version}, nil, nil
	case to.Version == "":
		return to, nil, cannotGoBack(past, "no host knows version "+version)
	case fresh || begun || to.Everywhere():
		return to, nil, nil
	}
	return to, nil, exit.With(exit.Failed, fmt.Errorf("cannot go back to %s: %s", to.Version, to.Why()), ways(past)...)
}

// named finds a version by its name, or by a beginning of it that no other
// version has. Without one it returns nothing.
func named(past []stages.Past, version string) (stages.Past, error) {
	var found []stages.Past
	var names []string
	for _, p := range past {
		if p.Version == version {
			return p, nil
		}
		if strings.HasPrefix(p.Version, version) {
			found, names = append(found, p), append(names, p.Version)
		}
	}
	switch len(found) {
	case 0:
		return stages.Past{}, nil
	case 1:
		return found[0], nil
	}
	return stages.Past{}, exit.With(exit.Usage, fmt.Errorf("several versions begin with %s: %s", version, strings.Join(names, ", ")),
		"name more of the version's characters")
}

func cannotGoBack(past []stages.Past, why string, passed ...stages.Past) error {
	for _, p := range passed {
		why += fmt.Sprintf("; %s: %s", p.Version, p.Why())
	}
	return exit.With(exit.Failed, fmt.Errorf("cannot go back: %s", why), ways(past)...)
}

// ways returns what can be done instead.
func ways(past []stages.Past) []string {
	hints := []string{"kstep rollback --fresh VERSION makes new containers, while the registry, or without one the hosts, have the image"}
	if to, _, ok := stages.Previous(past); ok {
		return append([]string{"ready on all hosts: kstep rollback " + to.Version}, hints...)
	}
	for _, p := range past {
		if p.Everywhere() && len(p.Live) == 0 {
			return append([]string{fmt.Sprintf("ready on all hosts, but it was rolled back: kstep rollback %s", p.Version)}, hints...)
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

// asBefore names targets, with where those that have traffic are reached if that is
// elsewhere than in the configuration of now.
func asBefore(now, then *config.Config, targets []plan.Target) string {
	at := func(cfg *config.Config, t plan.Target) string {
		role, ok := cfg.Role(t.Role.Name)
		if !ok {
			role = config.Role{}
		}
		health := cfg.EffectiveHealthcheck(role)
		return fmt.Sprintf("%s :%d%s", health.Scheme, health.Port, health.Path)
	}
	all := plan.Keys(targets)
	for i, t := range targets {
		if was := at(then, t); t.Proxied && was != at(now, t) {
			all[i] += " (" + was + ")"
		}
	}
	return strings.Join(all, ", ")
}
