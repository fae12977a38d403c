package report

import (
	"fmt"
	"strings"
)

// GitHub refuses summaries of more than 1 MiB a step; this one stays far below.
const (
	maxSummary     = 200 << 10
	maxSummaryRows = 200
)

// summary is the job summary in Markdown, or empty if nothing happened.
func summary(t *tally) string {
	if len(t.stages) == 0 && t.ending == nil && t.plan() == nil {
		return ""
	}
	var b strings.Builder
	name := "kstep"
	if t.plan() != nil {
		name = "kstep plan"
	}
	fmt.Fprintf(&b, "### %s%s\n\n", name, title(t.result))
	if t.serving != "" {
		fmt.Fprintf(&b, "**%s**\n\n", cell(t.serving))
	}
	if len(t.stages) > 0 {
		b.WriteString("| Stage | Result | Time | Targets |\n|---|---|---:|---|\n")
		for _, s := range t.stages {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(s.name), mark(s.finished.Status), took(s.finished.Duration), targetCell(s))
		}
		b.WriteString("\n")
	}
	if t.ending != nil {
		fmt.Fprintf(&b, "**error:** %s\n\n", cell(t.ending.Message))
		for _, hint := range t.ending.Hints {
			fmt.Fprintf(&b, "- hint: %s\n", cell(hint))
		}
		b.WriteString("\n")
	}
	if t.plan() != nil {
		planned(&b, t.plan(), t.result.PlanDigest)
	}
	failures(&b, t)
	changes(&b, t)
	for _, n := range t.notices {
		fmt.Fprintf(&b, "%s\n\n", cell(n))
	}
	text := strings.TrimRight(b.String(), "\n") + "\n"
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "") + "\n\n…\n"
	}
	return text
}

func title(r *Result) string {
	if r == nil {
		return ""
	}
	text := ""
	if r.Service != "" {
		text = ": " + cell(r.Service)
	}
	if r.Version != "" {
		text += " " + code(r.Version)
	}
	if r.Destination != "" {
		text += " → " + cell(r.Destination)
	}
	return text
}

// code is a text in one line, as code.
func code(text string) string { return "`" + strings.ReplaceAll(oneLine(text), "`", "'") + "`" }

func mark(status string) string {
	switch status {
	case "ok":
		return "✅ ok"
	case "unchanged":
		return "➖ unchanged"
	case "":
		return "❌ not finished"
	case "partial", "interrupted":
		return "⚠️ " + cell(status)
	}
	return "❌ " + cell(status)
}

func targetCell(s stageTally) string {
	failed := 0
	for _, e := range s.targets {
		if e.Kind == TargetFailed {
			failed++
		}
	}
	switch {
	case len(s.targets) == 0:
		return cell(s.finished.Message)
	case failed > 0:
		return fmt.Sprintf("%d of %d failed", failed, len(s.targets))
	}
	return fmt.Sprint(len(s.targets))
}

func failures(b *strings.Builder, t *tally) {
	for _, s := range t.stages {
		for _, e := range s.targets {
			if e.Kind != TargetFailed {
				continue
			}
			fmt.Fprintf(b, "❌ **%s** on %s: %s\n\n", cell(s.name), cell(label(e)), cell(e.Message))
			if len(e.Detail) == 0 {
				continue
			}
			b.WriteString("<details><summary>last lines</summary>\n\n```text\n")
			for _, d := range e.Detail {
				for _, line := range clean(d) {
					b.WriteString(strings.ReplaceAll(line, "```", "'''") + "\n")
				}
			}
			b.WriteString("```\n\n</details>\n\n")
		}
	}
}

func changes(b *strings.Builder, t *tally) {
	rows := 0
	for _, s := range t.stages {
		for _, e := range s.changes {
			if rows == 0 {
				b.WriteString("<details><summary>what was done</summary>\n\n| Stage | Host | Role | |\n|---|---|---|---|\n")
			}
			if rows++; rows <= maxSummaryRows {
				fmt.Fprintf(b, "| %s | %s | %s | %s |\n", cell(s.name), cell(e.Host), cell(e.Role), cell(e.Message))
			}
		}
	}
	if rows > maxSummaryRows {
		fmt.Fprintf(b, "\n%d more\n", rows-maxSummaryRows)
	}
	if rows > 0 {
		b.WriteString("\n</details>\n\n")
	}
}

// cell makes text safe inside a Markdown table: it comes from engines and
// registries, too, and becomes no link, image, heading, code or struck-out text.
func cell(text string) string {
	return strings.NewReplacer(
		"|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "\n", "<br>",
		`\`, `\\`, "[", `\[`, "]", `\]`, "#", `\#`, "*", `\*`, "`", "\\`", "~", `\~`, "_", `\_`, "://", "&#58;//", "www.", "www&#46;",
	).Replace(strings.Join(clean(text), "\n"))
}
