package main

import (
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// planReport is a plan for the outputs and the summary of a CI job, with the
// lines that planText has.
func planReport(p state.Plan) *report.Plan {
	sum := &report.Plan{Total: totalText(p), About: []string{releaseText(p), "lease: " + leaseText(p)}}
	if p.Digest != "" {
		sum.About = append(sum.About, "image: "+p.Digest)
	}
	for _, s := range p.Stages {
		for _, t := range s.Targets {
			for _, c := range t.Changes {
				count(sum, c.Mark)
			}
		}
		for _, at := range gathered(s.Targets) {
			row := report.PlannedPlace{Stage: s.Stage, Where: at.label()}
			for _, l := range at.lines {
				row.Acts = append(row.Acts, report.PlannedAct{Text: l.text, Detail: l.detail, Risk: l.detail && l.mark == markBeyond})
			}
			sum.Places = append(sum.Places, row)
		}
	}
	return sum
}

func count(sum *report.Plan, mark string) {
	switch mark {
	case state.MarkAdd:
		sum.Add++
	case state.MarkChange:
		sum.Change++
	case state.MarkRemove:
		sum.Remove++
	}
}
