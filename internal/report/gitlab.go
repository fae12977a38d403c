package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// GitLab writes the log of a GitLab job: each stage and hook is a section that
// folds and shows its duration.
type GitLab struct {
	mu     sync.Mutex
	out    *lineWriter
	layout layout
	open   []string // Section ids, innermost last.
	count  int
}

var _ Sink = (*GitLab)(nil)

// NewGitLab makes a GitLab that writes to w. GitLab's log shows colours.
func NewGitLab(w io.Writer, color bool) *GitLab {
	return &GitLab{out: &lineWriter{w: w}, layout: layout{style: style{on: color}}}
}

// Emit writes the event's lines and section marks.
func (g *GitLab) Emit(e Event) {
	e = stamp(e)
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := g.layout.lines(e)
	switch e.Kind {
	case StageStarted:
		g.start(e.Time, e.Stage, lines)
	case HookStarted:
		g.start(e.Time, "hook-"+e.Message, lines)
	case StageFinished:
		g.end(e.Time)
		g.out.lines(prefixed(oneLine(e.Stage)+": ", trimmed(lines)))
	case HookFinished:
		g.end(e.Time)
		g.out.lines(lines)
	case Failure:
		for len(g.open) > 0 {
			g.end(e.Time)
		}
		g.out.lines(lines)
	default:
		g.out.lines(lines)
	}
}

// Close ends open sections.
func (g *GitLab) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.open) > 0 {
		g.end(time.Now())
	}
	return g.out.err
}

// start opens a section; its header is the rest of the mark's line.
func (g *GitLab) start(at time.Time, name string, title []string) {
	g.count++
	id := fmt.Sprintf("kstep_%d_%s", g.count, strings.Map(sectionRune, name))
	g.open = append(g.open, id)
	g.out.write(fmt.Sprintf("\x1b[0Ksection_start:%d:%s\r\x1b[0K%s\n", at.Unix(), id, strings.Join(title, " ")))
}

func (g *GitLab) end(at time.Time) {
	if len(g.open) == 0 {
		return
	}
	id := g.open[len(g.open)-1]
	g.open = g.open[:len(g.open)-1]
	g.out.write(fmt.Sprintf("\x1b[0Ksection_end:%d:%s\r\x1b[0K\n", at.Unix(), id))
}

func sectionRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		return r
	}
	return '_'
}
