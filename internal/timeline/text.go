package timeline

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The text form fits 80 columns.
const (
	columns    = 80
	nameColumn = 23
	wordColumn = 11
	barColumn  = 34
	tookColumn = 10
)

// Text writes the timeline for a terminal.
func Text(w io.Writer, t Timeline) error {
	p := &textPrinter{}
	p.wrap("", t.Sentence)
	p.line("")
	for _, r := range t.rows() {
		p.wrap(pad(strings.ToLower(r.Label), 13), strings.TrimSuffix(r.Text, ", ")+after(r))
		if r.URL != "" {
			p.line(pad("", 13) + r.URL)
		}
	}
	p.line("")
	p.axis(t.Axis)
	for _, s := range t.Stages {
		p.row(s.Name, string(s.Status), p.bar(t.Axis, s.Bar, nil), s.Took)
		for _, one := range s.Targets {
			p.row("  "+one.Name(), one.Word(), p.bar(t.Axis, one.Bar, one.Marks), one.Took)
			if s.Name == "cutover" || s.Name == "barrier-wait" {
				p.wrap(strings.Repeat(" ", 4), strings.Join(one.Facts, "; "))
			}
		}
	}
	if legend := legend(t); legend != "" {
		p.line(pad("", nameColumn+wordColumn) + legend)
	}
	for _, f := range t.Failures {
		p.line("")
		p.wrap("", f.Title()+": "+f.Message)
		for _, one := range f.Detail {
			p.wrap("  | ", one)
		}
	}
	if len(t.Commands) > 0 {
		p.line("")
	}
	for _, c := range t.Commands {
		p.line(pad(strings.ToLower(c.Purpose), 13) + c.Line)
	}
	for _, n := range t.Notes {
		p.line("")
		p.wrap("note: ", n)
	}
	_, err := io.WriteString(w, p.b.String())
	return err
}

func after(r row) string {
	switch {
	case r.Link == "" || r.Link == r.URL:
		return ""
	case r.Text == "":
		return r.Link
	}
	return ", " + r.Link
}

type textPrinter struct{ b strings.Builder }

func (p *textPrinter) line(text string) { p.b.WriteString(strings.TrimRight(text, " ") + "\n") }

// wrap writes text behind a prefix, which further lines have as space.
func (p *textPrinter) wrap(prefix, text string) {
	if text == "" {
		return
	}
	room := columns - utf8.RuneCountInString(prefix)
	for i, part := range wrapped(text, room) {
		if i > 0 {
			prefix = pad("", columns-room)
		}
		p.line(prefix + part)
	}
}

// wrapped breaks text at spaces, and in the middle of words that are too long.
func wrapped(text string, room int) []string {
	runes := []rune(text)
	var lines []string
	for len(runes) > room {
		cut := room
		for at := room; at > room/2; at-- {
			if runes[at] == ' ' {
				cut = at
				break
			}
		}
		lines = append(lines, string(runes[:cut]))
		runes = runes[cut:]
		for len(runes) > 0 && runes[0] == ' ' {
			runes = runes[1:]
		}
	}
	return append(lines, string(runes))
}

func (p *textPrinter) row(name, word, bar, took string) {
	p.line(pad(name, nameColumn) + " " + pad(word, wordColumn) + bar + fmt.Sprintf(" %*s", tookColumn, took))
}

// axis writes the labels over the bars.
func (p *textPrinter) axis(a Axis) {
	labels := []rune(strings.Repeat(" ", barColumn+1))
	free := 0
	for _, tick := range a.Ticks {
		at := cell(tick.Pos)
		label := []rune(tick.Label)
		if at < free || at+len(label) > len(labels) {
			continue
		}
		copy(labels[at:], label)
		free = at + len(label) + 1
	}
	p.line(pad("", nameColumn+1+wordColumn) + string(labels))
}

// bar draws a bar with its marks on the axis.
func (p *textPrinter) bar(a Axis, bar Bar, marks []Mark) string {
	cells := []rune(strings.Repeat("·", barColumn))
	for _, f := range a.Folds {
		cells[cell(f.Left+f.Width/2)] = '/'
	}
	from := cell(bar.Left)
	to := max(from+1, int(barColumn*(bar.Left+bar.Width)/100+0.5))
	for i := from; i < min(to, barColumn); i++ {
		cells[i] = '█'
	}
	for _, m := range marks {
		if m.Kind == Switched {
			cells[cell(m.Pos)] = '◆'
		}
	}
	return string(cells)
}

func cell(percent float64) int { return max(0, min(barColumn-1, int(barColumn*percent/100))) }

// legend explains the signs that are used.
func legend(t Timeline) string {
	var parts []string
	for _, s := range t.Stages {
		for _, one := range s.Targets {
			for _, m := range one.Marks {
				if m.Kind == Switched && len(parts) == 0 {
					parts = append(parts, "◆ traffic switched")
				}
			}
		}
	}
	if len(t.Axis.Folds) > 0 {
		parts = append(parts, "/ pause")
	}
	return strings.Join(parts, "  ")
}

// pad gives text a width: it is filled with spaces, or cut.
func pad(text string, width int) string {
	n := utf8.RuneCountInString(text)
	if n <= width {
		return text + strings.Repeat(" ", width-n)
	}
	return string([]rune(text)[:width-1]) + "…"
}
