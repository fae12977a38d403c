package timeline

import (
	"fmt"
	"strings"

	"github.com/kstep/kstep/internal/short"
)

// row is a fact about the release, for all formats.
type row struct {
	Label, Text string
	URL         string // Of what the text ends with, or empty.
	Link        string // The linked part of the text, behind it.
}

// rows are the facts about the release as a whole.
func (t Timeline) rows() []row {
	var rows []row
	version := t.ShortVersion()
	switch {
	case len(t.Before) > 0:
		version = listed(t.Before) + " → " + version
	case t.First:
		version += " (first version)"
	}
	rows = append(rows, row{Label: "Version", Text: version})
	if commit := short.Of(t.Commit); commit != "" {
		text := commit
		if t.Subject != "" {
			text += " " + t.Subject
		}
		if t.Dirty {
			text += " (with uncommitted changes)"
		}
		rows = append(rows, row{Label: "Commit", Text: text})
	}
	for i, a := range t.Actors {
		r := row{Text: a.User, URL: a.URL}
		if i == 0 {
			r.Label = "Run by"
		}
		if len(t.Actors) > 1 {
			r.Text = strings.TrimSpace(r.Text + " (" + listed(a.Stages) + ")")
		}
		switch {
		case a.URL != "":
			r.Link = a.CI
			if r.Link == "" {
				r.Link = a.URL
			}
			if r.Text != "" {
				r.Text += ", "
			}
		case a.CI != "" && r.Text != "":
			r.Text += ", " + a.CI
		case a.CI != "":
			r.Text = a.CI
		}
		if r.Text == "" && r.Link == "" {
			r.Text = "unknown"
		}
		rows = append(rows, r)
	}
	when := stamp(t.Started) + " UTC, took " + t.Took
	if t.Worked != "" {
		when += " (" + t.Worked + " without pauses)"
	}
	rows = append(rows, row{Label: "Started", Text: when})
	if text := t.Traffic.text(); text != "" {
		rows = append(rows, row{Label: "Traffic", Text: text})
	}
	if text := t.Traffic.connections(); text != "" {
		rows = append(rows, row{Label: "Connections", Text: text})
	}
	return rows
}

// text is what the probes found out.
func (s *Traffic) text() string {
	if s == nil || !s.Probed {
		return ""
	}
	text := fmt.Sprintf("%s sent through the proxy, %d failed, slowest %s",
		counted(s.Requests, "request"), s.Failed, took(float64(s.SlowestMs)/1000))
	if s.FirstFail != "" {
		text += "; first failure: " + s.FirstFail
	}
	return text
}

// connections is how the old containers were left.
func (s *Traffic) connections() string {
	if s == nil || !s.Drained {
		return ""
	}
	text := fmt.Sprintf("%d open connections cut at drain", s.Cut)
	if s.Cut == 1 {
		text = "1 open connection cut at drain"
	}
	if s.Unobserved > 0 {
		text += fmt.Sprintf("; not observed on %s", counted(s.Unobserved, "target"))
	}
	return text
}
