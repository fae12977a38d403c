package main

import (
	"context"
	"errors"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// configureExec declares `kstep server exec`.
func configureExec(p *program, server *kingpin.CmdClause, actions map[string]action) {
	cmd := server.Command("exec", "Run a program on every host, without a shell, and show what it prints. Put -- before it: kstep server exec -- df -h.")
	argv := cmd.Arg("program", "The program and its arguments.").Required().Strings()
	actions["server exec"] = p.inSession("server exec", func(ctx context.Context, s *stages.Session) error {
		return p.serverExec(ctx, s, *argv)
	})
}

func (p *program) serverExec(ctx context.Context, s *stages.Session, argv []string) error {
	targets, err := plan.Filter(everything(s), s.Roles, s.HostGlobs)
	if err != nil {
		return err
	}
	s.Hosts.Warm(ctx, plan.HostNames(targets))
	in := s.Input(targets, targets)
	// Both outputs in the order they came.
	merged := append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)
	records, ran, err := stages.EachHost(ctx, in, targets, func(ctx context.Context, w *stages.Work) (execution, error) {
		out, err := w.Host.Run(ctx, merged, nil)
		one := execution{Host: w.Target.Host, Output: s.Secrets.Redact(string(out))}
		if failed, ok := errors.AsType[*host.CommandError](err); ok {
			failed.Program, one.Status = argv[0], failed.Status
		} else if err != nil {
			one.Status = -1
		}
		noteRun(w, argv[0], one.Status)
		return one, err
	})
	s.Audit(ctx, called(s), records)
	for _, name := range plan.HostNames(targets) {
		one, there := ran[name]
		if !there || one.Host == "" {
			continue // It was not reached.
		}
		if printErr := p.printExecution(one); printErr != nil {
			return printErr
		}
	}
	return err
}

func (p *program) printExecution(one execution) error {
	if p.global.output == "json" {
		return p.encode(one)
	}
	for line := range strings.Lines(one.Output) {
		p.result("[%s] %s", one.Host, strings.TrimSuffix(line, "\n"))
	}
	return nil
}
