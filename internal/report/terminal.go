package report

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// TerminalSize reports whether f is a terminal, and its width and height.
func TerminalSize(f *os.File) (width, height int, ok bool) {
	if !IsTerminal(f) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil && width > 0
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// RawTerminal passes each key on as it is pressed, Ctrl-C too, until restore is
// called.
func RawTerminal(f *os.File) (restore func() error, err error) {
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return func() error { return term.Restore(int(f.Fd()), before) }, nil
}

// Terminal shows one line for each target of the running stage and rewrites
// it; when the stage ends, its lines stay as they are. What people must read
// (output, warnings, failures) goes above the live lines and stays, too.
type Terminal struct {
	out    *lineWriter
	layout layout
	cols   int
	limit  int // Of live lines; more would scroll and could not be rewritten.

	mu    sync.Mutex
	live  []liveLine
	drawn int // Lines of the live part on the screen.
	stage string
}

var _ Sink = (*Terminal)(nil)

// liveLine is what a target is doing.
type liveLine struct {
	label   string
	message string
	failed  bool
	passing bool // Progress: worth a line only as long as it goes on.
}

// NewTerminal makes a Terminal for a screen of that size.
func NewTerminal(w io.Writer, width, height int, color bool) *Terminal {
	return &Terminal{
		out: &lineWriter{w: w}, layout: layout{style: style{on: color}},
		cols: cmp.Or(width, 80), limit: max(3, cmp.Or(height, 24)-4),
	}
}

// Emit redraws the live lines.
func (t *Terminal) Emit(e Event) {
	e = stamp(e)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Kind {
	case StageStarted:
		t.stage = e.Stage
		t.print(t.layout.lines(e))
	case StageFinished:
		t.settle()
		t.print(t.layout.lines(e))
		t.stage = ""
	case TargetChanged, Progress:
		if t.stage == "" || (e.Host == "" && e.Kind == TargetChanged) {
			t.drop("")
			t.print(t.layout.lines(e))
			return
		}
		message := oneLine(e.Message)
		if e.Kind == Progress {
			message += " " + amount(e.Done, e.Total)
		}
		t.set(liveLine{label: label(e), message: message, passing: e.Kind == Progress})
	case TargetFailed:
		if t.stage != "" && len(e.Detail) == 0 {
			t.set(liveLine{label: label(e), message: t.layout.style.red("FAILED") + "  " + oneLine(e.Message), failed: true})
			return
		}
		t.drop(label(e))
		t.print(t.layout.lines(e))
	case TargetHalted:
		t.set(liveLine{label: label(e), message: t.layout.style.dim(oneLine(e.Message)), failed: true})
	default:
		t.print(t.layout.lines(e))
	}
}

// Close leaves the live lines as they are.
func (t *Terminal) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle()
	return t.out.err
}

func (t *Terminal) set(line liveLine) {
	i := slices.IndexFunc(t.live, func(l liveLine) bool { return l.label == line.label })
	switch {
	case i < 0:
		t.live = append(t.live, line)
	case t.live[i].failed && !line.failed:
		return
	default:
		t.live[i] = line
	}
	t.redraw(nil)
}

func (t *Terminal) drop(label string) {
	t.live = slices.DeleteFunc(t.live, func(l liveLine) bool { return l.label == label })
}

// print puts lines that stay above the live ones.
func (t *Terminal) print(lines []string) {
	if len(lines) > 0 {
		t.redraw(lines)
	}
}

// settle makes the live lines part of the past, all of them and uncut.
func (t *Terminal) settle() {
	t.live = slices.DeleteFunc(t.live, func(l liveLine) bool { return l.passing })
	t.out.write(t.erase())
	t.out.lines(t.rows())
	t.live, t.drawn = nil, 0
}

func (t *Terminal) redraw(above []string) {
	var b strings.Builder
	b.WriteString(t.erase())
	for _, line := range above {
		b.WriteString(line + "\n")
	}
	rows := t.rows()
	if more := len(rows) - t.limit; more > 0 {
		rows = append(rows[:t.limit], fmt.Sprintf("  … and %d more", more))
	}
	for _, row := range rows {
		b.WriteString(cut(row, t.cols-1) + "\n")
	}
	t.drawn = len(rows)
	t.out.write(b.String())
}

// erase goes back to the first live line and clears what is below.
func (t *Terminal) erase() string {
	if t.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", t.drawn)
}

func (t *Terminal) rows() []string {
	var rows []string
	for _, l := range t.live {
		rows = append(rows, "  "+t.layout.column(l.label)+l.message)
	}
	return rows
}

// cut shortens a line to a number of columns, so that it never wraps; escape
// sequences take no room, and colour ends with the line.
func cut(line string, cols int) string {
	if utf8.RuneCountInString(stripEscapes(line)) <= cols {
		return line
	}
	var out strings.Builder
	room := max(cols-1, 1)
	var at escapes
	for _, r := range line {
		if !at.inside(r) {
			if room == 0 {
				break
			}
			room--
		}
		out.WriteRune(r)
	}
	if strings.ContainsRune(line, '\x1b') {
		return out.String() + "…\x1b[0m"
	}
	return out.String() + "…"
}
