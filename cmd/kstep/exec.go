package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lines"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// execution is a line of `exec --output json`, of the host or of a container.
type execution struct {
	Host string `json:"host"`
	// Role is the role or accessory, where it ran in a container.
	Role string `json:"role,omitempty"`
	// Status is the program's exit status, -1 if there was none.
	Status int    `json:"status"`
	Output string `json:"output"`
}

// finder finds the container of a target in which a program is to run.
type finder func(context.Context, *stages.Work) (engine.Container, error)

// interactiveFlag declares the flag that connects the user with the program.
func interactiveFlag(cmd *kingpin.CmdClause) *bool {
	return cmd.Flag("interactive", "Give the program your input, and your terminal if you have one, in one container only.").Short('i').Bool()
}

// execIn runs a program in a running container of each target. People see what
// it prints as it comes: of one container as it is, each stream to its own, of
// several line by line.
func (p *program) execIn(ctx context.Context, s *stages.Session, in stages.Input, argv []string, find finder) error {
	printer := &linePrinter{p: p, s: s, label: labels(in.Targets)}
	whole := &streams{stdout: s.Secrets.Redactor(p.stdout), stderr: s.Secrets.Redactor(p.stderr)}
	records, ran, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (execution, error) {
		one := execution{Host: w.Target.Host, Role: w.Target.Role.Name, Status: -1}
		c, err := find(ctx, w)
		if err != nil {
			return one, err
		}
		var kept bytes.Buffer
		to := &streams{&kept, &kept}
		switch {
		case p.global.output == "json":
		case len(in.Targets) == 1:
			to = whole
		default:
			split := &lines.Writer{Emit: func(text string) { printer.print(w.Target, text) }}
			defer split.Flush()
			to = &streams{split, split}
		}
		one.Status, err = w.Host.Engine().ExecTo(ctx, c.ID, argv, to.stdout, to.stderr)
		one.Output = s.Secrets.Redact(kept.String())
		if err == nil && one.Status != 0 {
			err = exited(argv[0], c, w, one.Status)
		}
		return one, err
	})
	auditRuns(ctx, s, argv[0], records, ran)
	err = errors.Join(err, printer.err, whole.close())
	if p.global.output != "json" {
		return err
	}
	for _, t := range in.Targets {
		if one, there := ran[t.Key()]; there && one.Host != "" { // Else it was not reached.
			err = errors.Join(err, p.encode(one))
		}
	}
	return err
}

// streams are where a program's output goes.
type streams struct{ stdout, stderr io.Writer }

func (s *streams) close() error {
	var errs []error
	for _, w := range []io.Writer{s.stdout, s.stderr} {
		if c, ok := w.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// converse runs a program in the container that is found at the only target, and
// connects the user with it: by keys and screen where these are a terminal's, by
// plain streams else, as in `… -- psql <dump.sql`.
func (p *program) converse(ctx context.Context, s *stages.Session, in stages.Input, argv []string, find finder) error {
	if len(in.Targets) != 1 {
		return exit.With(exit.Usage, fmt.Errorf("--interactive is for one container, and there are %d", len(in.Targets)), "choose one with --hosts")
	}
	if p.global.output == "json" {
		return exit.Errorf(exit.Usage, "--interactive has no --output json: what the program prints is the output")
	}
	records, ran, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (execution, error) {
		one := execution{Host: w.Target.Host, Role: w.Target.Role.Name, Status: -1}
		c, err := find(ctx, w)
		if err != nil {
			return one, err
		}
		to, end, err := p.console(s)
		if err != nil {
			return one, err
		}
		one.Status, err = w.Host.Engine().ExecWith(ctx, c.ID, argv, to)
		if err = errors.Join(err, end()); err == nil && one.Status != 0 {
			err = exited(argv[0], c, w, one.Status)
		}
		return one, err
	})
	auditRuns(ctx, s, argv[0], records, ran)
	return err
}

// console is what the user types at and looks at. end gives it back. A terminal
// is not searched for secrets: what it shows is seen by the one who asked, and
// must not be held back.
func (p *program) console(s *stages.Session) (to engine.Streams, end func() error, err error) {
	keys, isFile := p.stdin.(*os.File)
	screen, isFileToo := p.stdout.(*os.File)
	if !isFile || !isFileToo || !report.IsTerminal(keys) || !report.IsTerminal(screen) {
		whole := &streams{stdout: s.Secrets.Redactor(p.stdout), stderr: s.Secrets.Redactor(p.stderr)}
		return engine.Streams{In: p.stdin, Out: whole.stdout, Err: whole.stderr}, whole.close, nil
	}
	restore, err := report.RawTerminal(keys)
	if err != nil {
		return to, nil, fmt.Errorf("take the terminal: %w", err)
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	changed <- syscall.SIGWINCH // At first.
	sizes := make(chan engine.Size)
	over := make(chan struct{})
	go follow(screen, changed, sizes, over)
	return engine.Streams{In: keys, Out: screen, Err: screen, Terminal: sizes}, func() error {
		signal.Stop(changed)
		close(over)
		return restore()
	}, nil
}

// follow tells the screen's size whenever it changed.
func follow(screen *os.File, changed <-chan os.Signal, sizes chan<- engine.Size, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-changed:
		}
		width, height, ok := report.TerminalSize(screen)
		if !ok {
			continue
		}
		select {
		case <-over:
			return
		case sizes <- engine.Size{Width: width, Height: height}:
		}
	}
}

// exited is the failure of a program that was run in a container.
func exited(program string, c engine.Container, w *stages.Work, status int) error {
	return fmt.Errorf("run %s in %s on %s: exit status %d", program, c.Name, w.Target.Host, status)
}

// auditRuns notes where a program was run. Its arguments may hold anything, also
// secrets, and are left out.
func auditRuns(ctx context.Context, s *stages.Session, program string, records []state.Target, ran map[string]execution) {
	for i, t := range records {
		one, inContainer := ran[state.Key(t.Role, t.Host)]
		if !inContainer {
			one = ran[t.Host]
		}
		if one.Host == "" || one.Status < 0 {
			continue // Why not is told.
		}
		records[i].Changed = []string{"ran " + program}
		if t.Status == state.Unchanged {
			records[i].Status = state.OK
		}
	}
	s.Audit(ctx, called(s), records)
}
