package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/sethvargo/go-githubactions"
)

// GitHub shows at most ten error annotations a step and cuts their text; the
// rest would be lost without a word, so it is left to the log and the summary.
const (
	maxAnnotations    = 10
	maxAnnotationText = 4000
)

// GitHub writes the log of a GitHub Actions step: each stage is a group that
// folds, and what failed is an annotation. Commands go to the same stream as
// the text, because the runner reads both but keeps their order only within
// one.
type GitHub struct {
	mu          sync.Mutex
	out         *lineWriter
	layout      layout
	grouped     bool // A group is open; GitHub does not nest them.
	hookGroup   bool
	failed      []Event
	annotations int
}

var _ Sink = (*GitHub)(nil)

// NewGitHub makes a GitHub that writes to w.
func NewGitHub(w io.Writer) *GitHub { return &GitHub{out: &lineWriter{w: w}} }

// Emit writes the event's lines and commands.
func (g *GitHub) Emit(e Event) {
	e = stamp(e)
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := g.layout.lines(e)
	switch e.Kind {
	case StageStarted:
		g.open(e.Stage)
	case StageFinished:
		g.endGroup()
		g.text(prefixed(oneLine(e.Stage)+": ", trimmed(lines)))
		g.annotateFailed()
	case HookStarted:
		if g.grouped {
			g.text(lines)
			return
		}
		g.hookGroup = true
		g.open("hook " + oneLine(e.Message))
	case HookFinished:
		if g.hookGroup {
			g.endGroup()
		}
		g.text(lines)
	case TargetFailed:
		g.text(lines)
		g.failed = append(g.failed, e)
		if !g.grouped {
			g.annotateFailed()
		}
	case Warning:
		g.text(lines)
		g.annotate("warning", "kstep", e)
	case Failure:
		g.endGroup()
		g.annotateFailed()
		g.text(lines)
		if g.annotations == 0 || e.File != "" {
			g.annotate("error", "kstep", e)
		}
	default:
		g.text(lines)
	}
}

// Close ends an open group.
func (g *GitHub) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endGroup()
	g.annotateFailed()
	return g.out.err
}

func (g *GitHub) open(title string) {
	g.endGroup()
	g.command("group", nil, title)
	g.grouped = true
}

func (g *GitHub) endGroup() {
	if g.grouped {
		g.command("endgroup", nil, "")
	}
	g.grouped, g.hookGroup = false, false
}

// annotateFailed comes after the group's end: annotations inside of one that is
// folded away are not seen in the log.
func (g *GitHub) annotateFailed() {
	for _, e := range g.failed {
		g.annotate("error", titleOf(e), e)
	}
	g.failed = nil
}

// titleOf is what failed where, such as `boot of web on vm1`. Commands that are
// no stage leave its name out.
func titleOf(e Event) string {
	title := e.Stage
	switch {
	case e.Role != "" && title != "":
		title += " of " + e.Role
	case e.Role != "":
		title = e.Role
	}
	return oneLine(strings.TrimPrefix(title+" on "+e.Host, " "))
}

func (g *GitHub) annotate(name, title string, e Event) {
	if name == "error" {
		if g.annotations++; g.annotations > maxAnnotations {
			return
		}
	}
	props := githubactions.CommandProperties{"title": title}
	if e.File != "" {
		props["file"] = e.File
		if e.Line > 0 {
			props["line"] = strconv.Itoa(e.Line)
		}
		if e.Column > 0 {
			props["col"] = strconv.Itoa(e.Column)
		}
	}
	lines := clean(e.Message)
	for _, d := range e.Detail {
		lines = append(lines, clean(d)...)
	}
	for _, h := range e.Hints {
		lines = append(lines, "hint: "+oneLine(h))
	}
	text := strings.ToValidUTF8(strings.Join(lines, "\n"), "")
	if len(text) > maxAnnotationText {
		text = strings.ToValidUTF8(text[:maxAnnotationText], "") + "\n…"
	}
	g.command(name, props, text)
}

func (g *GitHub) command(name string, props githubactions.CommandProperties, message string) {
	cmd := githubactions.Command{Name: name, Properties: props, Message: message}
	g.out.lines([]string{cmd.String()})
}

// text writes lines that the runner must not take for commands, also when they
// quote other output: `::name::` counts at the start of a line, `##[name]`
// anywhere.
func (g *GitHub) text(lines []string) {
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "::") {
			line = "| " + line
		}
		lines[i] = strings.ReplaceAll(line, "##[", "## [")
	}
	g.out.lines(lines)
}

func trimmed(lines []string) []string {
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// Mask makes GitHub's runner mask values in its log. It must be given the
// stream beneath every redactor, which would mask the command's own value.
// Values with less than four characters are left out: they would tear the log
// and empty the job's outputs.
func Mask(w io.Writer, values ...string) error {
	for _, value := range values {
		for line := range strings.SplitSeq(strings.ReplaceAll(value, "\r", "\n"), "\n") {
			if line = strings.TrimSpace(line); len(line) < 4 {
				continue
			}
			cmd := githubactions.Command{Name: "add-mask", Message: line}
			if _, err := fmt.Fprintln(w, cmd.String()); err != nil {
				return fmt.Errorf("write mask: %w", err)
			}
		}
	}
	return nil
}
