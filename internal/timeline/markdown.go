package timeline

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// What the short form shows at most.
const (
	mostFailures = 10
	mostLog      = 30
)

// Markdown writes the short form, for a job summary.
func Markdown(w io.Writer, t Timeline) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s %s\n\n%s\n\n", icon(t.Outcome), markdown(t.Title()), markdown(t.Sentence))
	b.WriteString("| Stage | Result | Time | Targets |\n|---|---|---:|---|\n")
	for _, s := range t.Stages {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", markdown(s.Name), markdown(string(s.Status)), s.Took, markdown(targets(s)))
	}
	b.WriteString("\n")
	for _, r := range t.rows() {
		label := ""
		if r.Label != "" {
			label = r.Label + ": "
		}
		text := markdown(strings.TrimSuffix(r.Text, ", "))
		if r.URL != "" {
			if text != "" {
				text += ", "
			}
			text += "[" + markdown(r.Link) + "](" + r.URL + ")"
		}
		fmt.Fprintf(&b, "- %s%s\n", label, text)
	}
	for i, f := range t.Failures {
		if i == mostFailures {
			fmt.Fprintf(&b, "\n%d more failures\n", len(t.Failures)-i)
			break
		}
		fmt.Fprintf(&b, "\n**%s**: %s\n", markdown(f.Title()), markdown(f.Message))
		if len(f.Detail) > 0 {
			fence(&b, "details", "text", ends(f.Detail))
		}
	}
	if len(t.Commands) > 0 {
		b.WriteString("\n")
	}
	for _, c := range t.Commands {
		fmt.Fprintf(&b, "- %s: %s\n", c.Purpose, code(c.Line))
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "\nNote: %s\n", markdown(n))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func icon(o Outcome) string {
	switch o {
	case Serves:
		return "✅"
	case Failed:
		return "❌"
	case UnderWay:
		return "⏳"
	case Aborted:
		return "↩️"
	}
	return "⚠️"
}

// targets counts the targets of a stage, or names what it found.
func targets(s Stage) string {
	if len(s.Targets) == 0 {
		return strings.Join(s.Facts, "; ")
	}
	failed := 0
	for _, one := range s.Targets {
		if !one.Status.Done() && !one.Halted {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Sprintf("%d of %d failed", failed, len(s.Targets))
	}
	return fmt.Sprint(len(s.Targets))
}

// ends are the first lines, with the state of the container, and the last ones.
func ends(lines []string) []string {
	if len(lines) <= mostLog {
		return lines
	}
	return slices.Concat(lines[:2], []string{"…"}, lines[len(lines)-mostLog+3:])
}

// fence writes lines that can be unfolded. The fence is longer than any in them.
func fence(b *strings.Builder, title, language string, lines []string) {
	ticks := "```"
	for strings.Contains(strings.Join(lines, "\n"), ticks) {
		ticks += "`"
	}
	fmt.Fprintf(b, "\n<details><summary>%s</summary>\n\n%s%s\n%s\n%s\n\n</details>\n", title, ticks, language, strings.Join(lines, "\n"), ticks)
}

// code is text as a code span.
func code(text string) string {
	ticks := "`"
	for strings.Contains(text, ticks) {
		ticks += "`"
	}
	if len(ticks) > 1 {
		text = " " + text + " "
	}
	return ticks + text + ticks
}

// markdown escapes what has a meaning in GitHub's Markdown, also in tables, and
// addresses that would become links. It leaves out quotes and full stops, so that
// the text stays legible.
func markdown(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@': // No mention, and no mail address.
			b.WriteString("&#64;")
		case strings.ContainsRune("\\`*_[]()|~#!$:", r) && needsEscape(r, text):
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(b.String(), "www.", "www\\."), "WWW.", "WWW\\.")
}

// needsEscape leaves out signs that are harmless in this text.
func needsEscape(r rune, text string) bool {
	switch r {
	case '(', ')':
		return strings.Contains(text, "](")
	case ':':
		return strings.Contains(text, "://") || strings.Contains(text, "::") || hasEmoji(text)
	case '!':
		return strings.Contains(text, "![")
	}
	return true
}

var twoDigits = regexp.MustCompile(`^[0-9]{2}$`) // Those of a time.

// hasEmoji reports whether text may have a name such as `:+1:`.
func hasEmoji(text string) bool {
	parts := strings.Split(text, ":")
	for i := 1; i < len(parts)-1; i++ {
		if parts[i] != "" && !strings.Contains(parts[i], " ") && !twoDigits.MatchString(parts[i]) {
			return true
		}
	}
	return false
}
