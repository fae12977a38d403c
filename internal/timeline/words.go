package timeline

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
)

// The longest texts that are printed, in characters.
const (
	longest     = 600  // Of a message.
	longestName = 120  // Of a name.
	longestLine = 300  // Of a line of a log.
	mostLines   = 60   // Of a log.
	mostActs    = 20   // Of a target.
	mostTargets = 1000 // Of a stage.
	mostFailed  = 50
	mostActors  = 20
	mostNotes   = 50
)

// line is text as one clean line.
func line(text string, limit int) string { return clip(short.In(oneLine(text)), limit) }

func oneLine(text string) string {
	text = report.Plain(strings.ToValidUTF8(text, "\ufffd"))
	var parts []string
	for part := range strings.SplitSeq(text, "\n") {
		if part = strings.Join(strings.Fields(part), " "); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "; ")
}

func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

func name(text string) string    { return line(text, longestName) }
func whole(text string) string   { return clip(oneLine(text), longestName) }
func message(text string) string { return line(text, longest) }

// detail is the evidence of a failure. Indentation stays: it may be a stack trace.
func detail(lines []string) []string {
	var all []string
	for _, one := range lines {
		for part := range strings.SplitSeq(report.Plain(strings.ToValidUTF8(one, "\ufffd")), "\n") {
			if len(all) == mostLines {
				return append(all, "…")
			}
			all = append(all, clip(strings.TrimRight(strings.ReplaceAll(part, "\t", "  "), " "), longestLine))
		}
	}
	return all
}

// webAddress is text if it is a plain http or https address, or else empty.
func webAddress(text string) string {
	if len(text) > 2000 || report.Plain(text) != text || strings.ContainsAny(text, " \n\t\"'<>`\\|()[]{}") {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return text
}

// took is a duration in seconds for people.
func took(seconds float64) string {
	switch {
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", max(0, seconds)*1000)
	case seconds < 59.95:
		return fmt.Sprintf("%.1f s", seconds)
	}
	switch s := int64(min(seconds+0.5, 1e15)); {
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s/3600%24)
	}
}

// between is the time from a to b in seconds. time.Duration would overflow after
// 292 years.
func between(a, b time.Time) float64 {
	return float64(b.Unix()-a.Unix()) + float64(b.Nanosecond()-a.Nanosecond())/1e9
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.000") }

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") }

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// listed joins words for people: `a`, `a and b`, `a, b and c`.
func listed(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	if len(words) > 4 {
		return strings.Join(words[:3], ", ") + fmt.Sprintf(" and %d more", len(words)-3)
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// word is text as one word of a shell command.
func word(text string) string {
	if plainWord.MatchString(text) && !strings.HasPrefix(text, "-") {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
