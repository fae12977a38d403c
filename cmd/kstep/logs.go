package main

import (
	"context"
	"errors"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/stages"
)

// logFlags choose lines of containers' logs, and how they are shown.
type logFlags struct {
	lines      int
	since      time.Duration
	follow     bool
	timestamps bool
	grep       string
}

func (f *logFlags) declare(cmd *kingpin.CmdClause) {
	cmd.Flag("lines", "Show the last ones, so many of each container. Default: 100, or with --since all.").Short('n').IntVar(&f.lines)
	cmd.Flag("since", "Only entries since this long ago, such as 10m.").Short('s').DurationVar(&f.since)
	cmd.Flag("follow", "Go on with what is written, also after a restart and in containers that start later, until Ctrl-C.").Short('f').BoolVar(&f.follow)
	cmd.Flag("timestamps", "Show when each line was written (UTC).").Short('t').BoolVar(&f.timestamps)
	cmd.Flag("grep", "Only lines that match the regular expression.").Short('g').StringVar(&f.grep)
}

func (f *logFlags) query() (engine.Lines, *regexp.Regexp, error) {
	match, err := regexp.Compile(f.grep)
	if err != nil {
		return engine.Lines{}, nil, exit.Errorf(exit.Usage, "--grep: %w", err)
	}
	which := engine.Lines{Last: f.lines}
	if f.since > 0 {
		which.Since = time.Now().Add(-f.since)
	} else if which.Last == 0 {
		which.Last = 100
	}
	return which, match, nil
}

// logSource is where the lines of a command come from.
type logSource struct {
	// find finds the containers of a target.
	find func(context.Context, *stages.Work) ([]engine.Container, error)
	// later selects the containers of a target that are followed when they start.
	later func(*stages.Work) engine.Filter
}

// single is what finds one container, as a logSource finds several.
func single(c engine.Container, err error) ([]engine.Container, error) {
	if err != nil {
		return nil, err
	}
	return []engine.Container{c}, nil
}

// showLogs prints lines of the containers that are found at the targets, in the
// order in which they were written. With --follow, it then prints new ones.
func (p *program) showLogs(ctx context.Context, s *stages.Session, in stages.Input, flags *logFlags, from logSource) error {
	which, match, err := flags.query()
	if err != nil {
		return err
	}
	_, found, findErr := stages.Each(ctx, in, in.Targets, from.find)
	targets := slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool { return len(found[t.Key()]) == 0 })
	printer := &linePrinter{p: p, s: s, label: labels(in.Targets), match: match, times: flags.timestamps, color: p.colors()}
	logs := &logReader{which: which, follow: flags.follow, later: from.later, printer: printer, printed: make(chan struct{})}
	streams := map[string][]*logStream{}
	for _, t := range targets {
		for _, c := range found[t.Key()] {
			streams[t.Key()] = append(streams[t.Key()], logs.add(t, c))
		}
	}
	go logs.merge()
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets { // Each by itself: the others wait for its lines.
		wg.Go(func() {
			_, _, errs[i] = stages.Each(ctx, in, []plan.Target{t}, func(ctx context.Context, w *stages.Work) (struct{}, error) {
				err := logs.read(ctx, w, streams[t.Key()])
				if flags.follow && exit.CodeOf(context.Cause(ctx)) == exit.Interrupted {
					err = nil // It is how one ends it.
				}
				return struct{}{}, err
			})
			for _, one := range streams[t.Key()] {
				one.end() // Also where its host was not reached.
			}
		})
	}
	wg.Wait()
	<-logs.printed
	return errors.Join(append(append([]error{findErr}, errs...), printer.err)...)
}

// logReader reads the logs of several containers.
type logReader struct {
	which   engine.Lines
	follow  bool
	later   func(*stages.Work) engine.Filter
	printer *linePrinter

	streams []*logStream  // What there is to merge.
	printed chan struct{} // Closed when that is printed.
}

// logStream is the log of one container.
type logStream struct {
	target    plan.Target
	container engine.Container
	output    *engine.Output
	lines     chan engine.Line // Those that are merged.
	ended     sync.Once
}

// end says that no line is to be merged any more.
func (s *logStream) end() { s.ended.Do(func() { close(s.lines) }) }

func (l *logReader) add(t plan.Target, c engine.Container) *logStream {
	s := &logStream{target: t, container: c, lines: make(chan engine.Line)}
	l.streams = append(l.streams, s)
	return s
}

// merge prints the lines of all streams by their times. No more than one line
// of each is held.
func (l *logReader) merge() {
	defer close(l.printed)
	heads := make([]*engine.Line, len(l.streams))
	over := make([]bool, len(l.streams))
	for {
		first := -1
		for i, s := range l.streams {
			if heads[i] == nil && !over[i] {
				line, more := <-s.lines
				if over[i] = !more; more {
					heads[i] = &line
				}
			}
			if heads[i] != nil && (first < 0 || heads[i].Time.Before(heads[first].Time)) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		l.printer.printLine(l.streams[first], *heads[first])
		heads[first] = nil
	}
}

// read reads the logs of one target.
func (l *logReader) read(ctx context.Context, w *stages.Work, streams []*logStream) error {
	var events iter.Seq2[engine.Event, error]
	var err error
	if l.follow { // From now on, so that no start is missed.
		events, err = w.Host.Engine().Events(ctx, l.later(w), time.Time{})
	}
	errs := make([]error, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() {
			defer s.end()
			s.output = w.Host.Engine().Output(s.container.ID)
			errs[i] = s.output.Read(ctx, l.which, func(line engine.Line) {
				select {
				case s.lines <- line:
				case <-ctx.Done():
				}
			})
		})
	}
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err != nil || !l.follow {
		return err
	}
	select {
	case <-l.printed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f := &follower{l: l, w: w, open: map[string]*followed{}}
	for _, s := range streams {
		f.start(ctx, s, engine.Lines{})
	}
	return f.run(ctx, events)
}

// follower follows the containers of one target.
type follower struct {
	l    *logReader
	w    *stages.Work
	wait sync.WaitGroup

	mu   sync.Mutex
	open map[string]*followed // By container.
	err  error
}

// followed is a container whose log is followed, or was until it ended.
type followed struct {
	stream  *logStream
	reading bool
	again   bool // It has started once more meanwhile.
}

// run follows also what starts, until ctx ends.
func (f *follower) run(ctx context.Context, events iter.Seq2[engine.Event, error]) error {
	defer f.wait.Wait()
	running, err := f.w.Host.Engine().Containers(ctx, f.l.later(f.w))
	if err != nil {
		return err
	}
	for _, c := range running {
		f.begin(ctx, c, f.l.which)
	}
	for event, err := range events {
		if err != nil {
			return err
		}
		if event.Action != "start" {
			continue
		}
		c, err := f.w.Host.Engine().Inspect(ctx, event.Container)
		switch {
		case errors.Is(err, engine.ErrNotFound):
		case err != nil:
			return err
		default:
			f.begin(ctx, c, engine.Lines{Since: c.Finished}) // The engine notes a start after the first line may have come.
		}
	}
	return f.err
}

// begin follows a container that runs, unless that is done already.
func (f *follower) begin(ctx context.Context, c engine.Container, which engine.Lines) {
	f.mu.Lock()
	known := f.open[c.ID]
	if known != nil && known.reading {
		known.again = true
	}
	f.mu.Unlock()
	switch {
	case known == nil:
		f.w.Say("following %s", c.Name)
		f.start(ctx, &logStream{target: f.w.Target, container: c, output: f.w.Host.Engine().Output(c.ID)}, which)
	case !known.reading:
		f.start(ctx, known.stream, engine.Lines{})
	}
}

func (f *follower) start(ctx context.Context, s *logStream, which engine.Lines) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := &followed{stream: s, reading: true}
	f.open[s.container.ID] = one
	which.Follow = true
	f.wait.Go(func() {
		for more := true; more; {
			err := s.output.Read(ctx, which, func(line engine.Line) { f.l.printer.printLine(s, line) })
			if err != nil && !errors.Is(err, engine.ErrNotFound) {
				f.fail(ctx, err)
				return
			}
			more = f.ended(ctx, one)
		}
	})
}

// ended says that a container has, and returns whether it has started again.
func (f *follower) ended(ctx context.Context, one *followed) (again bool) {
	c, err := f.w.Host.Engine().Inspect(ctx, one.stream.container.ID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		f.w.Say("%s was removed", one.stream.container.Name)
	case err != nil:
		f.fail(ctx, err)
	case !c.Running():
		f.w.Say("%s ended with exit status %d", c.Name, c.ExitCode)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	again = one.again || err == nil && c.Running()
	one.again, one.reading = false, again
	return again
}

// fail keeps the first failure, for the end.
func (f *follower) fail(ctx context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && ctx.Err() == nil {
		f.err = err
		f.w.Say("%v", err)
	}
}

// logLine is a line of `kstep accessory logs --output json`.
type logLine struct {
	Host string `json:"host"`
	// Role is the role or accessory.
	Role      string `json:"role,omitempty"`
	Container string `json:"container,omitempty"`
	// Time is when it was written, by the host's clock.
	Time time.Time `json:"time,omitzero"`
	Line string    `json:"line"`
}

// labels distinguish lines of several targets with as little text as possible.
func labels(targets []plan.Target) func(plan.Target) string {
	several := slices.ContainsFunc(targets, func(t plan.Target) bool { return t.Role.Name != targets[0].Role.Name })
	return func(t plan.Target) string {
		switch {
		case several:
			return "[" + t.Key() + "]"
		case len(targets) > 1:
			return "[" + t.Host + "]"
		}
		return ""
	}
}

// linePrinter prints lines of several hosts, each line as a whole.
type linePrinter struct {
	p     *program
	s     *stages.Session
	label func(plan.Target) string
	match *regexp.Regexp // Nil matches all.
	times bool
	color bool // Labels have one for each target.

	mu    sync.Mutex
	order []string // The targets, by their first line.
	err   error
}

// print prints a line that has no time.
func (l *linePrinter) print(from plan.Target, text string) {
	l.printLine(&logStream{target: from}, engine.Line{Text: text})
}

func (l *linePrinter) printLine(from *logStream, line engine.Line) {
	if l.match != nil && !l.match.MatchString(line.Text) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := from.target
	if l.p.global.output == "json" {
		l.err = errors.Join(l.err, l.p.encode(logLine{t.Host, t.Role.Name, from.container.Name, line.Time, line.Text}))
		return
	}
	var head string
	if label := l.label(t); label != "" {
		head = report.Tinted(l.color, l.place(t.Key()), label) + " "
	}
	if l.times && !line.Time.IsZero() {
		head += line.Time.Format("2006-01-02T15:04:05.000Z") + " "
	}
	text := strings.ReplaceAll(report.Plain(line.Text), "\n", " ") // One line, also of a program that goes back to its start.
	l.err = errors.Join(l.err, l.p.out.Painted(head+text+"\n"))
}

// place numbers the targets.
func (l *linePrinter) place(key string) int {
	at := slices.Index(l.order, key)
	if at < 0 {
		at = len(l.order)
		l.order = append(l.order, key)
	}
	return at
}
