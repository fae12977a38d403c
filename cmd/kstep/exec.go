package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lines"
	"github.com/kstep/kstep/internal/platform"
	"github.com/kstep/kstep/internal/report"
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

// runner runs a program in the containers that are found.
type runner func(context.Context, *stages.Session, stages.Input, []string, finder) error

// runner is converse for a user who wants to be connected, else execIn.
func (p *program) runner(interactive bool) runner {
	if interactive {
		return p.converse
	}
	return p.execIn
}

// execIn runs a program in a running container of each target. People see what
// it prints as it comes: of one container as it is, each stream to its own, of
// several line by line.
func (p *program) execIn(ctx context.Context, s *stages.Session, in stages.Input, argv []string, find finder) error {
	printer := &linePrinter{p: p, s: s, label: labels(in.Targets)}
	ran, err := runIn(ctx, s, in, argv, find, func(w *stages.Work, one *execution) (engine.Streams, func() error, error) {
		switch {
		case p.global.output == "json":
			kept := engine.NewKept()
			return engine.Streams{Out: kept, Err: kept}, func() error { one.Output = kept.String(); return nil }, nil
		case len(in.Targets) == 1:
			to, end := p.plain()
			return to, end, nil
		}
		split := &lines.Writer{Emit: func(text string) { printer.print(w.Target, text) }}
		return engine.Streams{Out: split, Err: split}, func() error { split.Flush(); return nil }, nil
	})
	err = errors.Join(err, printer.err)
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
	_, err := runIn(ctx, s, in, argv, find, func(*stages.Work, *execution) (engine.Streams, func() error, error) { return p.console() })
	return err
}

// runIn runs a program in a container of each target. connect says what it is
// connected to, and how that ends.
func runIn(ctx context.Context, s *stages.Session, in stages.Input, argv []string, find finder,
	connect func(*stages.Work, *execution) (engine.Streams, func() error, error),
) (map[string]execution, error) {
	records, ran, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (execution, error) {
		one := execution{Host: w.Target.Host, Role: w.Target.Role.Name, Status: -1}
		c, err := find(ctx, w)
		if err != nil {
			return one, err
		}
		to, end, err := connect(w, &one)
		if err != nil {
			return one, err
		}
		one.Status, err = w.Host.Engine().ExecWith(ctx, c.ID, argv, to)
		noteRun(w, argv[0], one.Status)
		if err = errors.Join(err, end()); err == nil && one.Status != 0 {
			err = fmt.Errorf("run %s in %s on %s: exit status %d", argv[0], c.Name, w.Target.Host, one.Status)
		}
		return one, err
	})
	s.Audit(ctx, called(s), records)
	return ran, err
}

// noteRun notes that a program was run, if it was. Its arguments may hold
// anything, also secrets, and are left out.
func noteRun(w *stages.Work, program string, status int) {
	if status >= 0 {
		w.Noted("ran %s", program)
	}
}

// plain is this process's own output, cleaned and searched for secrets; a file
// gets the bytes that the program printed, without secrets.
func (p *program) plain() (to engine.Streams, end func() error) {
	to = engine.Streams{Out: p.out, Err: p.errOut}
	if p.isFile() {
		to.Out = p.out.exact
	}
	return to, func() error { return errors.Join(p.out.Close(), p.errOut.Close()) }
}

// console is what the user types at and looks at. end gives it back. A terminal
// is not searched for secrets: only the user sees it, and its output must not
// be held back.
func (p *program) console() (to engine.Streams, end func() error, err error) {
	keys, isFile := p.stdin.(*os.File)
	screen, isFileToo := p.stdout.(*os.File)
	if !isFile || !isFileToo || !report.IsTerminal(keys) || !report.IsTerminal(screen) {
		to, end = p.plain()
		to.In = p.stdin
		return to, end, nil
	}
	restore, err := report.RawTerminal(keys)
	if err != nil {
		return to, nil, fmt.Errorf("take the terminal: %w", err)
	}
	changed := make(chan os.Signal, 1)
	changed <- platform.Resized // At first.
	signal.Notify(changed, platform.Resized)
	sizes := make(chan engine.Size)
	over := make(chan struct{})
	go follow(screen, changed, sizes, over)
	return engine.Streams{In: keys, Out: screen, Err: screen, Terminal: sizes}, func() error {
		signal.Stop(changed)
		close(over)
		return restore()
	}, nil
}

// follow sends the screen's size whenever it changes.
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
