package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lines"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// configureExec declares `kstep server exec`.
func configureExec(p *program, server *kingpin.CmdClause, actions map[string]action) {
	cmd := server.Command("exec", "Run a program on every host and show what it prints, line by line as it comes. Put -- before it: kstep server exec -- df -h. One argument with spaces is a line for sh: kstep server exec 'df -h | tail -1'.")
	argv := cmd.Arg("program", "The program and its arguments, or one line for sh.").Required().Strings()
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
	in.Anywhere = true
	program, merged := mergedOutput(argv)
	printer := &linePrinter{p: p, s: s, label: func(t plan.Target) string { return "[" + t.Host + "]" }}
	records, ran, err := stages.EachHost(ctx, in, targets, func(ctx context.Context, w *stages.Work) (execution, error) {
		one := execution{Host: w.Target.Host}
		kept := engine.NewKept()
		split := &lines.Writer{Emit: func(text string) { printer.print(w.Target, text) }}
		var out io.Writer = split
		if p.global.output == "json" {
			out = kept
		}
		err := w.Host.RunTo(ctx, merged, nil, out)
		split.Flush()
		one.Output = kept.String()
		if failed, ok := errors.AsType[*host.CommandError](err); ok {
			failed.Program, one.Status = program, failed.Status
		} else if err != nil {
			one.Status = -1
		}
		noteRun(w, program, one.Status)
		return one, err
	})
	s.Audit(ctx, called(s), records)
	err = errors.Join(err, printer.err)
	if p.global.output != "json" {
		return err
	}
	for _, name := range plan.HostNames(targets) {
		if one, there := ran[name]; there && one.Host != "" { // Else it was not reached.
			err = errors.Join(err, p.encode(one))
		}
	}
	return err
}

// mergedOutput is the command that prints both outputs in the order they came,
// and the name of its program. One word with white space in it is no program
// but a line for a shell.
func mergedOutput(argv []string) (program string, merged []string) {
	if words := strings.Fields(argv[0]); len(argv) == 1 && len(words) > 0 && words[0] != argv[0] {
		return words[0], []string{"sh", "-c", "exec 2>&1\n" + argv[0]}
	}
	return argv[0], append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)
}
