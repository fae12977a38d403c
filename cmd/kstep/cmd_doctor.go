package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/builder"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/stages"
)

// configureDoctor declares `kstep doctor`: the checks of preflight, and all others that
// can be made without a change.
func configureDoctor(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("doctor", "Check everything that a deploy needs, here and on every host, and show what to do about each problem. Nothing is changed. Warnings alone end with 0.")
	flags := &stageFlags{}
	cmd.Flag("version", "The version that would be deployed; default: KSTEP_VERSION, else the git commit.").StringVar(&flags.version)
	cmd.Flag("image", "Check for a deploy of a ready image of this reference, without build.").Envar("KSTEP_IMAGE").StringVar(&flags.image)
	flags.without(cmd)
	actions["doctor"] = p.answering(func(ctx context.Context) error {
		return p.withSession(ctx, "doctor", flags.version, flags.options(), p.doctor)
	})
}

func (p *program) doctor(ctx context.Context, s *stages.Session) error {
	in, err := looking(s)
	if err != nil {
		return err
	}
	refused := s.Survey(ctx, s.Config.Hosts())
	own := []func() []checkState{
		func() []checkState { return []checkState{checkedConfig(s)} },
		func() []checkState { return []checkState{checkedVersion(ctx, s)} },
		func() []checkState { return checkedBuilder(ctx, s) },
	}
	own = append(own, deployChecks(ctx, s)...)
	own = append(own, func() []checkState { return p.checkedNames(ctx, s) })
	for _, name := range plan.HostNames(in.Targets) {
		own = append(own, func() []checkState { return examine(ctx, s, in, name) })
	}
	sum, failed := reported(atOnce(own...), refused)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(diagnosis(sum, failed), p.printDoctor(sum))
}

// diagnosis is the error of failed checks. The answer on stdout says what is wrong with
// each.
func diagnosis(sum preflightReport, failed error) error {
	var names []string
	for _, one := range sum.Checks {
		if !one.OK {
			names = append(names, strings.TrimSpace(one.Host+" "+one.Check))
		}
	}
	switch {
	case failed == nil:
		return nil
	case len(names) == 0: // The survey alone refuses a host.
		return failed
	}
	return exit.With(exit.CodeOf(failed), fmt.Errorf("a deploy would fail: %s", strings.Join(names, ", ")))
}

func (p *program) printDoctor(sum preflightReport) error {
	if p.global.output == "json" {
		return p.encode(sum)
	}
	room := foundRoom(sum.Checks)
	t := p.table("CHECK", "WHERE", "STATE", "FOUND")
	for _, one := range sum.Checks {
		t.row(one.Check, cmp.Or(one.Host, "here"), one.State, abridged(oneLine(cmp.Or(one.Found, one.Error)), room))
	}
	if err := t.end(); err != nil {
		return err
	}
	for _, state := range []string{stateFailed, stateWarning} {
		for _, one := range sum.Checks {
			if one.State != state {
				continue
			}
			p.result("\n%s: %s: %s", state, strings.TrimSpace(one.Host+" "+one.Check), oneLine(one.Error))
			for _, hint := range one.Hints {
				p.result("hint: %s", oneLine(hint))
			}
		}
	}
	return nil
}

// foundRoom is how many characters the last column of a table has on a terminal with 80.
func foundRoom(checks []checkState) int {
	const others = len("leftovers") + len("warning") + 3*2
	longest := len("WHERE")
	for _, one := range checks {
		longest = max(longest, len(one.Host))
	}
	return max(80-others-longest, 24)
}

// abridged is as much of a text as has room.
func abridged(text string, room int) string {
	if runes := []rune(text); len(runes) > room {
		return string(runes[:room-1]) + "…"
	}
	return text
}

// oneLine is a text of a host without line breaks, tabs and control characters.
func oneLine(text string) string { return strings.Join(strings.Fields(report.Plain(text)), " ") }

// checkedConfig says which configuration was loaded: one with errors ends the command
// earlier.
func checkedConfig(s *stages.Session) checkState {
	found := fmt.Sprintf("service %s on %s", s.Config.Service, counted(len(s.Config.Hosts()), "host"))
	if s.Config.Destination != "" {
		found += ", destination " + s.Config.Destination
	}
	return checked("config", found, nil)
}

// checkedVersion finds the version that a deploy would have, and with it the checkout.
func checkedVersion(ctx context.Context, s *stages.Session) checkState {
	name, source, err := s.Resolve(ctx)
	found := short.In(name)
	if source.Commit != "" && !strings.HasPrefix(name, source.Commit) {
		found += ", commit " + short.Of(source.Commit)
	}
	return checked("version", found, err)
}

// checkedBuilder tries the builder of this machine, unless there is an image already.
func checkedBuilder(ctx context.Context, s *stages.Session) []checkState {
	if s.Options.Image != "" {
		return nil
	}
	cfg := s.Config.Builder
	found, err := builder.Find(ctx)
	if err != nil {
		return []checkState{checked("builder", "", err)}
	}
	warnings, err := found.Check(builder.Spec{
		SSH: cfg.SSH, Secrets: make([]builder.Secret, len(cfg.Secrets)), Platforms: cfg.Platforms,
		CacheFrom: cfg.Cache.From, CacheTo: cfg.Cache.To,
	})
	if err == nil && len(warnings) > 0 {
		return []checkState{warned("builder", found.String(), strings.Join(warnings, "; "))}
	}
	return []checkState{checked("builder", found.String(), err)}
}

// isWildcard reports whether a name stands for several, which DNS cannot be queried for.
func isWildcard(name string) bool { return strings.HasPrefix(name, "*") }

// queried are the host names of the proxy that DNS can be queried for.
func queried(s *stages.Session) []string {
	if !slices.ContainsFunc(plan.Targets(s.Config), func(t plan.Target) bool { return t.Proxied }) {
		return nil
	}
	return slices.DeleteFunc(s.Config.Proxy.Names(), isWildcard)
}
