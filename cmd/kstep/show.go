package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// logFlags choose lines of a container's log.
type logFlags struct {
	lines  int
	since  time.Duration
	follow bool
	grep   string
}

func (f *logFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("lines", "Show the last ones, so many of each container. Default: 100, or with --since all.").Short('n').IntVar(&f.lines)
	cmd.Flag("since", "Only those of so long ago, such as 10m.").Short('s').DurationVar(&f.since)
	cmd.Flag("follow", "Go on with what they write, until Ctrl-C.").Short('f').BoolVar(&f.follow)
	cmd.Flag("grep", "Only lines that match the regular expression.").Short('g').StringVar(&f.grep)
}

func (f *logFlags) query() (engine.Lines, *regexp.Regexp, error) {
	match, err := regexp.Compile(f.grep)
	if err != nil {
		return engine.Lines{}, nil, exit.Errorf(exit.Usage, "--grep: %w", err)
	}
	which := engine.Lines{Last: f.lines, Follow: f.follow}
	if f.since > 0 {
		which.Since = time.Now().Add(-f.since)
	} else if which.Last == 0 {
		which.Last = 100
	}
	return which, match, nil
}

// logLine is a line of `kstep accessory logs --output json`.
type logLine struct {
	Host string `json:"host"`
	// Role is the role or accessory.
	Role string `json:"role,omitempty"`
	Line string `json:"line"`
}

// labels tell lines of several targets apart, by no more than it takes.
func labels(targets []plan.Target) func(plan.Target) string {
	several := slices.ContainsFunc(targets, func(t plan.Target) bool { return t.Role.Name != targets[0].Role.Name })
	return func(t plan.Target) string {
		switch {
		case several:
			return "[" + t.Key() + "] "
		case len(targets) > 1:
			return "[" + t.Host + "] "
		}
		return ""
	}
}

// showLogs prints lines of the containers that are found at the targets.
func (p *program) showLogs(ctx context.Context, s *stages.Session, in stages.Input, flags *logFlags, find func(context.Context, *stages.Work) ([]engine.Container, error)) error {
	which, match, err := flags.query()
	if err != nil {
		return err
	}
	lines := &linePrinter{p: p, s: s, label: labels(in.Targets), match: match}
	_, _, err = stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		containers, err := find(ctx, w)
		if err != nil {
			return struct{}{}, err
		}
		errs := make([]error, len(containers))
		var wg sync.WaitGroup
		for i, c := range containers {
			wg.Go(func() {
				errs[i] = w.Host.Engine().Output(ctx, c.ID, which, func(text string) { lines.print(w.Target, text) })
			})
		}
		wg.Wait()
		return struct{}{}, errors.Join(errs...)
	})
	return errors.Join(err, lines.err)
}

// linePrinter prints lines of several hosts, each line as a whole.
type linePrinter struct {
	p     *program
	s     *stages.Session
	label func(plan.Target) string
	match *regexp.Regexp // Nil matches all.

	mu  sync.Mutex
	err error
}

func (l *linePrinter) print(from plan.Target, text string) {
	if l.match != nil && !l.match.MatchString(text) {
		return
	}
	text = l.s.Secrets.Redact(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.p.global.output == "json":
		l.err = errors.Join(l.err, l.p.encode(logLine{from.Host, from.Role.Name, text}))
	default:
		l.p.result("%s%s", l.label(from), text)
	}
}

// condition is how a container is, in a word or two.
func condition(state, health, failure string) string {
	switch {
	case failure != "":
		return "unknown"
	case state == "":
		return "nothing"
	case health != "":
		return state + ", " + health
	}
	return state
}

// encode prints an answer as JSON, in a line.
func (p *program) encode(answer any) error { return json.NewEncoder(p.stdout).Encode(answer) }

// table begins what people see of an answer: rows in columns. Its end prints it.
func (p *program) table(columns ...string) *table {
	t := &table{tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

type table struct{ w *tabwriter.Writer }

// row has a dash where there is nothing to say.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = cmp.Or(cell, "-")
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t")) // The end tells what went wrong.
}

func (t *table) end() error { return t.w.Flush() }
