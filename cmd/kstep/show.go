package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/kstep/kstep/internal/short"
)

// condition is how a container is, in a word or two.
func condition(state, health, failure string) string {
	switch {
	case failure != "":
		return "unknown"
	case state == "":
		return "nothing"
	case health != "":
		return state + ", " + health
	}
	return state
}

// encode prints an answer as JSON, in a line.
func (p *program) encode(answer any) error { return json.NewEncoder(p.out).Encode(answer) }

// table begins what people see of an answer: rows in columns. Its end prints it.
func (p *program) table(columns ...string) *table {
	t := &table{tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

type table struct{ w *tabwriter.Writer }

// row has a dash where there is nothing to say, and short commits: commands take the
// beginning of a version.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		parts := strings.Split(cell, ", ")
		for at, part := range parts {
			parts[at] = short.Of(part)
		}
		cells[i] = cmp.Or(strings.Join(parts, ", "), "-")
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t")) // The end reports a write error.
}

func (t *table) end() error { return t.w.Flush() }
