package timeline

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var page string

//go:embed page.css
var css string

// HTML writes the page: one file without scripts, and without a reference to any
// other file. Its content security policy allows the one style sheet in it.
func HTML(w io.Writer, t Timeline) error {
	parsed, err := template.New("page").Funcs(template.FuncMap{
		"percent": percent, "lower": strings.ToLower, "word": outcomeWord, "stamp": stamp, "clock": clock,
		"label": label, "acts": acts, "pauses": pauses, "has": has, "facts": joined,
		"track": func(name, word, took string, bar Bar, marks []Mark) track {
			return track{name, word, took, widened(bar), marks, t.Axis}
		},
	}).Parse(page)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(css))
	return parsed.Execute(w, struct {
		Timeline
		Rows   []row
		CSS    template.CSS
		Policy string
	}{
		t, t.rows(),
		template.CSS(css), // The embedded file, and nothing else.
		"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
	})
}

// track is a bar with its axis.
type track struct {
	Name, Word, Took string
	Bar              Bar
	Marks            []Mark
	Axis             Axis
}

// thinnest is the least width of a bar, in percent: it has to be seen.
const thinnest = 0.7

func widened(b Bar) Bar {
	b.Width = max(b.Width, thinnest)
	b.Left = min(b.Left, 100-b.Width)
	return b
}

func percent(n float64) string { return fmt.Sprintf("%.2f%%", n) }

func outcomeWord(o Outcome) string {
	switch o {
	case Serves:
		return "live"
	case InPart:
		return "live in part"
	case UnderWay:
		return "under way"
	}
	return string(o)
}

// label describes a track for those who do not see it.
func label(t track) string {
	parts := []string{t.Name + ": " + t.Word, t.Took}
	for _, m := range t.Marks {
		parts = append(parts, fmt.Sprintf("%s %s UTC", m.Kind, clock(m.At)))
	}
	return strings.Join(parts, ", ")
}

// acts counts what a stage did on its targets.
func acts(s Stage) int {
	n := 0
	for _, one := range s.Targets {
		n += len(one.Acts)
	}
	return n
}

func pauses(a Axis) string {
	var all []string
	for _, f := range a.Folds {
		all = append(all, f.Took)
	}
	return listed(all)
}

// has reports whether any target has a mark of a kind.
func has(t Timeline, kind string) bool {
	for _, s := range t.Stages {
		for _, one := range s.Targets {
			for _, m := range one.Marks {
				if string(m.Kind) == kind {
					return true
				}
			}
		}
	}
	return false
}

func joined(facts []string) string { return strings.Join(facts, " · ") }
