package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// planText shows a plan as text: a line for each change, in three columns of
// stage, place and change. What is the same on several hosts is shown once.
func planText(p state.Plan, colors bool) string {
	t := &planTable{paint: func(mark, text string) string { return report.Marked(colors, mark, text) }}
	t.head(p)
	places := map[string][]place{}
	for _, s := range p.Stages {
		places[s.Stage] = gathered(s.Targets)
		for _, at := range places[s.Stage] {
			t.width = max(t.width, min(utf8.RuneCountInString(at.label()), maxPlace))
			t.shown = true
		}
	}
	for _, s := range p.Stages {
		if t.shown {
			t.stage(s.Stage, places[s.Stage])
		}
	}
	t.foot(p)
	return t.String()
}

// The columns. A place that is longer than its column has a line of its own.
const (
	stageColumn = len("barrier-wait") + 2
	maxPlace    = 28
)

type planTable struct {
	strings.Builder
	paint func(mark, text string) string
	width int  // Of the places.
	shown bool // Some stage has something to show.
}

func (t *planTable) head(p state.Plan) {
	service := p.Service
	if p.Destination != "" {
		service += " at " + p.Destination
	}
	fmt.Fprintf(t, "%s, version %s: %s\n", t.paint("", service), t.paint("", p.Version), releaseText(p))
	fmt.Fprintf(t, "lease: %s\n\n", leaseText(p))
}

func releaseText(p state.Plan) string {
	if !p.Begun {
		return "a new release"
	}
	return fmt.Sprintf("release %s of %s UTC", p.Release, state.ReleaseTime(p.Release).Format("2006-01-02 15:04"))
}

func leaseText(p state.Plan) string {
	switch {
	case p.LeaseUnknown:
		return "not known"
	case p.Lease == nil:
		return "free"
	case p.Lease.Own:
		return "held by this release"
	}
	return fmt.Sprintf("held by %s; last renewed %s UTC", p.Lease.Holder, p.Lease.Renewed.Format("2006-01-02 15:04:05"))
}

func (t *planTable) foot(p state.Plan) {
	if t.shown {
		t.WriteString("\n")
	}
	if p.Changes == 0 {
		t.WriteString(t.paint("", totalText(p)) + "\n")
		return
	}
	t.WriteString(totalText(p) + "; nothing was changed\n")
}

// totalText sums a plan up.
func totalText(p state.Plan) string {
	if p.Changes == 0 {
		return nothing(p)
	}
	return fmt.Sprintf("%s on %s", counted(p.Changes, "change"), counted(len(changedHosts(p)), "host"))
}

// changedHosts are the hosts on which changes are pending.
func changedHosts(p state.Plan) []string {
	var hosts []string
	for _, s := range p.Stages {
		for _, at := range s.Targets {
			if at.Host != "" && at.Certain() > 0 && !slices.Contains(hosts, at.Host) {
				hosts = append(hosts, at.Host)
			}
		}
	}
	return hosts
}

// nothing says that there is nothing to do only if all of it is known.
func nothing(p state.Plan) string {
	for _, s := range p.Stages {
		for _, at := range s.Targets {
			if at.Error != nil {
				return "not everything could be determined"
			}
		}
	}
	return "nothing to do"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (t *planTable) stage(name string, places []place) {
	first := t.paint("", fmt.Sprintf("%-*s", stageColumn, name))
	if len(places) == 0 {
		fmt.Fprintf(t, "%s%s\n", first, t.paint(state.MarkUnknown, "nothing to do"))
		return
	}
	margin := strings.Repeat(" ", stageColumn)
	for _, at := range places {
		label := at.label()
		if utf8.RuneCountInString(label) > t.width {
			fmt.Fprintf(t, "%s%s\n", first, label)
			first, label = margin, ""
		}
		for _, l := range at.lines {
			pad := strings.Repeat(" ", t.width-utf8.RuneCountInString(label)+t.gap())
			fmt.Fprintf(t, "%s%s%s%s\n", first, label, pad, t.paint(l.mark, l.indented()))
			first, label = margin, ""
		}
	}
}

// gap is what separates the places from the changes.
func (t *planTable) gap() int {
	if t.width == 0 {
		return 0
	}
	return 2
}

// place is a role, or none, on hosts that have the same before them.
type place struct {
	role  string
	hosts []string
	lines []markedLine
}

type markedLine struct {
	mark, text string
	detail     bool // Of the line before it.
}

// indented is the line's text as the terminal shows it.
func (l markedLine) indented() string {
	if l.detail {
		return "    " + l.text
	}
	return l.text
}

func (p place) label() string {
	hosts := strings.Join(p.hosts, ", ")
	switch {
	case hosts == "":
		return ""
	case p.role == "":
		return hosts
	}
	return p.role + " on " + hosts
}

// gathered puts hosts together that have the same before them.
func gathered(targets []state.PlannedTarget) []place {
	var places []place
	for _, target := range targets {
		one := place{role: target.Role, lines: linesOf(target)}
		at := slices.IndexFunc(places, func(p place) bool {
			return target.Host != "" && len(p.hosts) > 0 && p.role == one.role && slices.Equal(p.lines, one.lines)
		})
		if at < 0 {
			places = append(places, one)
			at = len(places) - 1
		}
		if target.Host != "" {
			places[at].hosts = append(places[at].hosts, target.Host)
		}
	}
	return places
}

// markBeyond marks a failure and, in a detail, what reaches beyond the container.
const markBeyond = "!"

func linesOf(t state.PlannedTarget) []markedLine {
	var lines []markedLine
	for _, c := range t.Changes {
		lines = append(lines, markedLine{mark: c.Mark, text: c.Mark + " " + short.In(c.Do)})
		for _, d := range c.Detail {
			mark, _, _ := strings.Cut(d, " ")
			lines = append(lines, markedLine{mark, d, true})
		}
	}
	for _, n := range t.Notes {
		lines = append(lines, markedLine{mark: state.MarkUnknown, text: state.MarkUnknown + " " + n})
	}
	if t.Error != nil {
		for i, text := range strings.Split(t.Error.Message, "\n") {
			mark := markBeyond
			if i > 0 {
				mark = " "
			}
			lines = append(lines, markedLine{mark: markBeyond, text: mark + " " + text})
		}
	}
	return lines
}
