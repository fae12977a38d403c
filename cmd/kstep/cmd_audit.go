package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/audit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureAudit declares `kstep audit`: what the hosts remember of commands.
func configureAudit(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("audit", "Show what was done on the hosts, by whom, and how it ended, the newest last.")
	lines := cmd.Flag("lines", "Show the last ones, so many of all hosts together; 0 shows all.").Short('n').Default("50").Int()
	since := cmd.Flag("since", "Only entries since this long ago, such as 48h.").Short('s').Duration()
	actions["audit"] = p.look("audit", func(ctx context.Context, s *stages.Session) error {
		all, err := readAudit(ctx, s)
		if *since > 0 {
			from := time.Now().Add(-*since)
			all = slices.DeleteFunc(all, func(e audit.Entry) bool { return e.At.Before(from) })
		}
		if *lines > 0 && len(all) > *lines {
			all = all[len(all)-*lines:]
		}
		return errors.Join(err, p.printAudit(all))
	})
}

// readAudit reads the logs of all hosts that the filters leave.
func readAudit(ctx context.Context, s *stages.Session) ([]audit.Entry, error) {
	targets, err := plan.Filter(everything(s), s.Roles, s.HostGlobs)
	if err != nil {
		return nil, err
	}
	s.Hosts.Warm(ctx, plan.HostNames(targets))
	_, found, err := stages.EachHost(ctx, s.Input(targets, targets), targets, func(ctx context.Context, w *stages.Work) ([]audit.Entry, error) {
		return audit.Log{Files: w.Host.Files(), Path: w.Names.Audit()}.Read(ctx)
	})
	all := []audit.Entry{}
	for _, name := range plan.HostNames(targets) {
		for _, e := range found[name] {
			e.Host = name
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b audit.Entry) int { return a.At.Compare(b.At) })
	return all, err
}

func (p *program) printAudit(all []audit.Entry) error {
	if p.global.output == "json" {
		return p.encode(map[string]any{"entries": all})
	}
	t := p.table("TIME (UTC)", "HOST", "COMMAND", "ROLES", "VERSION", "BY", "RESULT", "WHAT")
	for _, e := range all {
		what := strings.Join(e.Changed, "; ")
		if e.Error != "" {
			what, _, _ = strings.Cut(e.Error, "\n")
		}
		t.row(e.At.UTC().Format(time.DateTime), e.Host, e.Command, strings.Join(e.Roles, ","), short.In(e.Version), e.By, e.Status, inRow(short.In(what)))
	}
	return t.end()
}

// inRow is as much of a text as has room in a row; with --output json there is
// all of it.
func inRow(text string) string {
	const room = 80
	if runes := []rune(text); len(runes) > room {
		return string(runes[:room-1]) + "…"
	}
	return text
}

// called is what the user called, in the words of the command line.
func called(s *stages.Session) string { return strings.TrimSpace(s.Command + " " + s.Subcommand) }

// auditLease notes what was done to the lease, on the host that has it.
func auditLease(ctx context.Context, s *stages.Session, what string) {
	s.Audit(ctx, called(s), []state.Target{{
		Host: plan.LeaseHost(plan.Targets(s.Config)), Status: state.OK, Changed: []string{what},
	}})
}
