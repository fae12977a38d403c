package report

import (
	"fmt"
	"strings"
)

// Plan is what a plan found, for the outputs and the job summary.
type Plan struct {
	// Add, Change and Remove count the changes that are pending, without those that
	// depend on a build.
	Add    int `json:"add"`
	Change int `json:"change"`
	Remove int `json:"remove"`
	// Total sums them up in words.
	Total string `json:"-"`
	// About are lines on the plan as a whole, such as the release and the lease.
	About []string `json:"-"`
	// Places are the rows of its table.
	Places []PlannedPlace `json:"-"`
}

// PlannedPlace is what one stage would do at one place.
type PlannedPlace struct {
	Stage, Where string
	Acts         []PlannedAct
}

// PlannedAct is one line of a plan, with its mark.
type PlannedAct struct {
	Text string
	// Detail belongs to the act before it.
	Detail bool
	// Risk reaches beyond the container.
	Risk bool
}

// Changes is how many changes are pending.
func (p *Plan) Changes() int { return p.Add + p.Change + p.Remove }

// mapped is the plan with all its texts changed.
func (p *Plan) mapped(change func(string) string) *Plan {
	if p == nil {
		return nil
	}
	q := *p
	q.Total, q.About, q.Places = change(p.Total), mapped(p.About, change), make([]PlannedPlace, len(p.Places))
	for i, at := range p.Places {
		at.Stage, at.Where, at.Acts = change(at.Stage), change(at.Where), append([]PlannedAct(nil), at.Acts...)
		for j := range at.Acts {
			at.Acts[j].Text = change(at.Acts[j].Text)
		}
		q.Places[i] = at
	}
	return &q
}

// The limits of a plan's table. What comes before it is always shown, and so is
// how much of the table is not.
const (
	maxPlanTable = 120 << 10 // Bytes.
	maxPlanActs  = 50        // Of one row.
	maxPlanText  = 200       // Characters of one act; escaped, each may take six bytes.
	maxPlanWhere = 200       // Characters of a place.
)

// planned writes a plan as Markdown: what the one who approves it has to see
// first, then a row for each place.
func planned(b *strings.Builder, p *Plan, digest string) {
	fmt.Fprintf(b, "**%s**", cell(shortened(p.Total, maxPlanText)))
	if p.Changes() > 0 {
		fmt.Fprintf(b, ": %d to add, %d to change, %d to remove", p.Add, p.Change, p.Remove)
	}
	b.WriteString("\n\n")
	for _, line := range p.About {
		fmt.Fprintf(b, "- %s\n", cell(shortened(line, maxPlanText)))
	}
	if digest != "" {
		fmt.Fprintf(b, "- plan digest: %s\n", code(digest))
	}
	if len(p.About) > 0 || digest != "" {
		b.WriteString("\n")
	}
	switch n := p.risks(); {
	case n == 1:
		b.WriteString("⚠️ 1 setting reaches beyond its container.\n\n")
	case n > 1:
		fmt.Fprintf(b, "⚠️ %d settings reach beyond their container.\n\n", n)
	}
	planTable(b, p.Places)
}

func (p *Plan) risks() int {
	n := 0
	for _, at := range p.Places {
		for _, act := range at.Acts {
			if act.Risk {
				n++
			}
		}
	}
	return n
}

func planTable(b *strings.Builder, places []PlannedPlace) {
	if len(places) == 0 {
		return
	}
	b.WriteString("| Stage | Where | What |\n|---|---|---|\n")
	limit, left := b.Len()+maxPlanTable, 0
	for i, at := range places {
		row := fmt.Sprintf("| %s | %s | %s |\n", cell(shortened(at.Stage, maxPlanWhere)), cell(shortened(at.Where, maxPlanWhere)), actsCell(at.Acts))
		if b.Len()+len(row) > limit {
			left = len(places) - i
			break
		}
		b.WriteString(row)
	}
	b.WriteString("\n")
	if left > 0 {
		fmt.Fprintf(b, "⚠️ **Only in the log: %d more of %d rows.**\n\n", left, len(places))
	}
}

func actsCell(acts []PlannedAct) string {
	var lines []string
	for i, act := range acts {
		if i == maxPlanActs {
			lines = append(lines, fmt.Sprintf("⚠️ **only in the log: %d more of %d lines**", len(acts)-i, len(acts)))
			break
		}
		text := cell(shortened(oneLine(act.Text), maxPlanText))
		if act.Risk {
			text = "⚠️ **" + text + "**"
		}
		if act.Detail {
			text = "&emsp;" + text
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "<br>")
}

// shortened cuts a text to so many characters, and shows that it did.
func shortened(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit]) + " …"
}
