package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func planned1(acts ...PlannedAct) *tally {
	return &tally{result: &Result{Service: "shop", PlanDigest: "sha256:12", Plan: &Plan{
		Add: 1, Total: "1 change on 1 host", About: []string{"a new release"},
		Places: []PlannedPlace{{Stage: "boot", Where: "web on vm1", Acts: acts}},
	}}}
}

func TestSummary_OfAPlanShowsWhatReachesBeyondAContainer(t *testing.T) {
	t.Parallel()
	got := summary(planned1(PlannedAct{Text: "+ create shop-web-v2"}, PlannedAct{Text: "! gets the capability SYS_PTRACE", Detail: true, Risk: true}))
	want := "### kstep plan: shop\n\n**1 change on 1 host**: 1 to add, 0 to change, 0 to remove\n\n" +
		"- a new release\n- plan digest: `sha256:12`\n\n⚠️ 1 setting reaches beyond its container.\n\n" +
		"| Stage | Where | What |\n|---|---|---|\n" +
		"| boot | web on vm1 | + create shop-web-v2<br>&emsp;⚠️ **! gets the capability SYS\\_PTRACE** |\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever a plan has, GitHub takes the summary, and says how much of it is missing.
func TestSummary_OfAPlanStaysBelowItsLimitAndCountsWhatReachesBeyond(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("|<&", 10_000)
	for name, c := range map[string]struct {
		places, acts int
		says         string
	}{
		"many places":        {5000, 1, "more of 5000 rows"},
		"many acts of one":   {1, 5000, "4950 more of 5000 lines"},
		"one long act":       {1, 1, "…"},
		"many of everything": {300, 300, "more of 300 rows"},
	} {
		plan := &Plan{Change: c.places * c.acts, Total: long, About: []string{long}}
		for range c.places {
			at := PlannedPlace{Stage: "boot", Where: long}
			for range c.acts {
				at.Acts = append(at.Acts, PlannedAct{Text: long, Risk: true, Detail: true})
			}
			plan.Places = append(plan.Places, at)
		}
		got := summary(&tally{result: &Result{PlanDigest: "sha256:12", Plan: plan}})
		if len(got) > maxSummary+100 || !strings.Contains(got, c.says) {
			t.Errorf("%s: got %d bytes, want at most %d, with %q", name, len(got), maxSummary, c.says)
		}
		if n := c.places * c.acts; n > 1 && !strings.Contains(got, fmt.Sprintf("⚠️ %d settings reach beyond", n)) {
			t.Errorf("%s: the summary does not count %d settings", name, n)
		}
		for line := range strings.Lines(got) {
			if strings.HasPrefix(line, "|") && !strings.HasSuffix(line, "|\n") {
				t.Errorf("%s: a row is cut off", name)
			}
		}
	}
}

func TestNew_GivesTheCountsOfAPlanToLaterJobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dotenv, output, steps := filepath.Join(dir, "kstep.env"), filepath.Join(dir, "output"), filepath.Join(dir, "summary.md")
	env := map[string]string{"GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": steps}
	sink := New(Options{
		CI: "github", Stderr: &strings.Builder{}, Env: func(k string) string { return env[k] }, Dotenv: dotenv,
		Redact: func(s string) string { return strings.ReplaceAll(s, "hush", "[REDACTED]") },
	})
	plan := planned1(PlannedAct{Text: "+ create hu\x1b[31msh"}).result
	plan.Status = "pending"
	emitAll(t, sink, []Event{{Kind: Finished, Result: plan}})
	for path, want := range map[string]string{
		dotenv: "KSTEP_OUT_CHANGES=1\nKSTEP_OUT_ADD=1\nKSTEP_OUT_CHANGE=0\nKSTEP_OUT_REMOVE=0\nKSTEP_OUT_PLAN_DIGEST=sha256:12\n",
		output: "changes<<_GitHubActionsFileCommandDelimeter_\n1\n",
		steps:  `+ create \[REDACTED\]`,
	} {
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, got\n%s\nwant %q in it", path, err, data, want)
		}
	}
}
