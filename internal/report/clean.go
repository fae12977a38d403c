package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// clean splits what other programs said into plain lines. Escape sequences,
// carriage returns and other control characters go: in a log they could hide
// text, end a line early, or give the CI system a command.
func clean(text string) []string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stripEscapes(text))
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		lines = append(lines, strings.TrimRight(strings.Map(printable, line), " "))
	}
	return lines
}

// oneLine is clean for places that hold only one line.
func oneLine(text string) string { return strings.Join(clean(text), " ") }

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r), r == '\u2028', r == '\u2029', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return -1 // The last ranges reorder text (Trojan Source).
	}
	return r
}

// took is a duration as people read it: 0.3s, 12.0s, 1m05s.
func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	d = d.Round(time.Second)
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// amount is how far a transfer is: 3.1 of 12.0 MB.
func amount(done, total int64) string {
	const mb = 1e6
	switch {
	case total >= mb:
		return fmt.Sprintf("%.1f of %.1f MB", float64(done)/mb, float64(total)/mb)
	case total > 0:
		return fmt.Sprintf("%.0f of %.0f kB", float64(done)/1e3, float64(total)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(done)/mb)
}

func label(e Event) string {
	if e.Host == "" {
		return ""
	}
	if e.Role == "" {
		return oneLine(e.Host)
	}
	return oneLine(e.Host + " " + e.Role)
}

// place is where in a file something is: kstep.yml:3:5.
func place(e Event) string {
	switch {
	case e.File == "":
		return ""
	case e.Line == 0:
		return e.File
	case e.Column == 0:
		return fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
}
