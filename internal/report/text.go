package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Text writes one plain line after the other, for CI logs and files.
type Text struct {
	out    *lineWriter
	layout layout
	mu     sync.Mutex
}

var _ Sink = (*Text)(nil)

// NewText makes a Text that writes to w.
func NewText(w io.Writer) *Text { return &Text{out: &lineWriter{w: w}} }

// Emit writes the event's lines at once.
func (t *Text) Emit(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.lines(t.layout.lines(stamp(e)))
}

// Close returns the first error of the writer, if there was one.
func (t *Text) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.err
}

// lineWriter remembers the first error, because Emit cannot return one.
type lineWriter struct {
	w   io.Writer
	err error
}

func (l *lineWriter) lines(lines []string) {
	if len(lines) > 0 {
		l.write(strings.Join(lines, "\n") + "\n")
	}
}

func (l *lineWriter) write(s string) {
	if _, err := io.WriteString(l.w, s); err != nil && l.err == nil {
		l.err = fmt.Errorf("write report: %w", err)
	}
}

func stamp(e Event) Event {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	return e
}

// progressEvery is how often a long act says in a log that it goes on: often
// enough to see that it does, seldom enough to keep the log short.
const progressEvery = 10 * time.Second

// layout turns events into lines. It is the one place that decides how text
// looks; it writes nothing.
type layout struct {
	style    style
	inStage  bool
	width    int // Of the widest label so far: messages stand in one column.
	progress map[string]time.Time
}

// The column has room for usual names from the start, and a bound: a single long
// host name must not push all messages to the right.
const (
	minLabel = 12
	maxLabel = 32
)

func (l *layout) lines(e Event) []string {
	s := l.style
	switch e.Kind {
	case StageStarted:
		l.inStage, l.progress = true, map[string]time.Time{}
		return []string{s.bold(oneLine(e.Stage))}
	case StageFinished:
		l.inStage = false
		// The Failure that follows says what is wrong.
		return []string{"  " + s.status(e.Status) + s.dim(" in "+took(e.Duration))}
	case HookStarted:
		return []string{l.indent() + s.bold("hook "+oneLine(e.Message))}
	case HookFinished:
		if e.Status == "ok" {
			return nil
		}
		return []string{l.indent() + s.red("hook "+oneLine(e.Message)+" "+e.Status) + s.dim(" after "+took(e.Duration))}
	case TargetChanged:
		return l.target(e, oneLine(e.Message))
	case TargetFailed:
		return append(l.target(e, s.red("FAILED")+"  "+oneLine(e.Message)), l.detail(e)...)
	case TargetHalted:
		return l.target(e, s.dim(oneLine(e.Message)))
	case Progress:
		if !l.due(e) {
			return nil
		}
		return l.target(e, oneLine(e.Message)+" "+amount(e.Done, e.Total))
	case Output:
		return prefixed(l.indent()+s.dim("| "), clean(e.Message))
	case Serving:
		return clean(e.Message)
	case Notice:
		return append(prefixed(l.indent(), clean(e.Message)), l.after(e)...)
	case Warning:
		return append(l.loud(s.yellow("warning: "), "warning: ", e), l.after(e)...)
	case Failure:
		return append(l.loud(s.red("error: "), "error: ", e), l.after(e)...)
	}
	return nil
}

func (l *layout) indent() string {
	if l.inStage {
		return "  "
	}
	return ""
}

func (l *layout) target(e Event, message string) []string {
	return []string{l.indent() + l.column(label(e)) + message}
}

// column is a label in brackets with the space that follows it.
func (l *layout) column(label string) string {
	if label == "" {
		return ""
	}
	label = "[" + label + "]"
	l.width = max(l.width, minLabel, min(utf8.RuneCountInString(label), maxLabel))
	return fmt.Sprintf("%-*s ", l.width, label)
}

// loud is a warning or an error: its further lines stand below its first one.
func (l *layout) loud(head, plain string, e Event) []string {
	lines := clean(e.Message)
	if at := place(e); at != "" && !strings.HasPrefix(lines[0], e.File) {
		lines[0] = at + ": " + lines[0]
	}
	lines[0] = head + lines[0]
	for i := range lines[1:] {
		lines[i+1] = strings.Repeat(" ", len(plain)) + lines[i+1]
	}
	return lines
}

func (l *layout) after(e Event) []string {
	lines := l.detail(e)
	for _, hint := range e.Hints {
		for i, line := range clean(hint) {
			if i == 0 {
				lines = append(lines, l.style.bold("hint: ")+line)
			} else {
				lines = append(lines, "      "+line)
			}
		}
	}
	return lines
}

func (l *layout) detail(e Event) []string {
	var lines []string
	for _, d := range e.Detail {
		lines = append(lines, prefixed(l.indent()+l.style.dim("| "), clean(d))...)
	}
	return lines
}

// due holds progress back: a short act says nothing, its result does.
func (l *layout) due(e Event) bool {
	if l.progress == nil {
		l.progress = map[string]time.Time{}
	}
	key := e.Stage + "\x00" + e.Host + "\x00" + e.Role + "\x00" + e.Message
	last, seen := l.progress[key]
	if !seen || e.Time.Sub(last) >= progressEvery {
		l.progress[key] = e.Time
		return seen
	}
	return false
}

func prefixed(prefix string, lines []string) []string {
	for i, line := range lines {
		lines[i] = strings.TrimRight(prefix+line, " ")
	}
	return lines
}
