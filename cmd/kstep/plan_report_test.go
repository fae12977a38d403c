package main

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// ciOutputs are the outputs that a command left for later steps on GitHub.
func ciOutputs(t *testing.T, file string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+)<<(\S+)\n(.*)\n`).FindAllStringSubmatch(readText(t, file), -1) {
		got[m[1]] = m[3]
	}
	return got
}

// plansOnGitHub runs `kstep plan` as GitHub Actions would.
func (w *world) plansOnGitHub(want exit.Code, args ...string) (summary string, outputs map[string]string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.env["GITHUB_ACTIONS"] = "true"
	w.env["GITHUB_STEP_SUMMARY"], w.env["GITHUB_OUTPUT"] = filepath.Join(dir, "summary.md"), filepath.Join(dir, "out")
	w.exits(want, append([]string{"plan"}, args...)...)
	return readText(w.t, w.env["GITHUB_STEP_SUMMARY"]), ciOutputs(w.t, w.env["GITHUB_OUTPUT"])
}

func TestPlan_OnGitHubIsInTheSummaryAndTheOutputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    options: {cap-add: [SYS_PTRACE]}\n")
	args := []string{"--image", w.image("v2"), "--version", "v2"}
	p := w.planned(args...)
	summary, outputs := w.plansOnGitHub(exit.OK, append(args, "--out", filepath.Join(w.dir, "plan.json"))...)
	counts := planReport(p)
	for _, want := range []string{
		"### kstep plan: shop `v2`\n\n**" + totalText(p) + "**: ",
		"- a new release\n- lease: free\n- image: " + p.Digest + "\n- plan digest: `sha256:",
		"⚠️ 1 setting reaches beyond its container.\n",
		"| boot | web on vm1, vm2 | + create shop-web-v2<br>",
		`&emsp;⚠️ **! gets the capability SYS\_PTRACE**<br>`,
		"| cutover | web on vm1, vm2 | \\~ move traffic to shop-web-v2<br>- stop shop-web-v1 |",
	} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary has no %q:\n%s", want, summary)
		}
	}
	for name, want := range map[string]string{
		"result": "pending", "exit-code": "0", "changed": "false", "hosts": `["vm1","vm2","vm3"]`,
		"changes": strconv.Itoa(p.Changes), "add": strconv.Itoa(counts.Add), "change": strconv.Itoa(counts.Change), "remove": strconv.Itoa(counts.Remove),
	} {
		if outputs[name] != want {
			t.Errorf("the output %s is %q, want %q", name, outputs[name], want)
		}
	}
	if counts.Add == 0 || counts.Change == 0 || counts.Remove == 0 || counts.Changes() != p.Changes || !strings.HasPrefix(outputs["plan-digest"], "sha256:") {
		t.Errorf("got %+v of a plan with %d changes, and the digest %q", counts, p.Changes, outputs["plan-digest"])
	}
}

func TestPlan_OnGitHubSaysThatThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	args := []string{"--image", w.image("v1"), "--version", "v1"}
	summary, outputs := w.plansOnGitHub(exit.OK, append(args, "--detailed-exitcode")...)
	if !strings.Contains(summary, "### kstep plan: shop `v1`\n\n**nothing to do**\n\n") {
		t.Errorf("got the summary\n%s", summary)
	}
	if outputs["result"] != "unchanged" || outputs["changes"] != "0" || outputs["hosts"] != "[]" {
		t.Errorf("got the outputs %v", outputs)
	}
	// With --detailed-exitcode, a pending plan is an answer, not a failure.
	summary, outputs = w.plansOnGitHub(exit.ChangesPending, "--image", w.image("v2"), "--version", "v2", "--detailed-exitcode")
	if outputs["result"] != "pending" || outputs["exit-code"] != "2" || strings.Contains(summary, "error:") {
		t.Errorf("got the outputs %v and the summary\n%s", outputs, summary)
	}
}

func TestPlan_OnGitHubShowsWhatAnswersWhereAHostDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.hosts["vm2"].Engine.SetDown(true)
	summary, outputs := w.plansOnGitHub(exit.Unreachable, "--image", w.image("v2"), "--version", "v2")
	for _, want := range []string{"**error:** ", "| boot | web on vm1 | + create shop-web-v2", "| vm2 | ! reach engine"} {
		if !strings.Contains(summary, want) {
			t.Errorf("the summary has no %q:\n%s", want, summary)
		}
	}
	if outputs["result"] != "failed" || outputs["exit-code"] != "30" || outputs["plan-digest"] != "" {
		t.Errorf("got the outputs %v", outputs)
	}
}

func TestPlan_InGitLabHasItsCountsInTheDotenvReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["GITLAB_CI"] = "true"
	file := filepath.Join(t.TempDir(), "plan.env")
	args := []string{"--image", w.image("v1"), "--version", "v1"}
	p := w.planned(args...)
	w.exits(exit.OK, append([]string{"plan", "--dotenv-file", file}, args...)...)
	got := readText(t, file)
	for _, want := range []string{"KSTEP_OUT_RESULT=pending\n", "KSTEP_OUT_CHANGES=" + strconv.Itoa(p.Changes) + "\n", "KSTEP_OUT_ADD=", "KSTEP_OUT_CHANGE=", "KSTEP_OUT_REMOVE=0\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the report has no %q:\n%s", want, got)
		}
	}
}

// Text of the configuration and of hosts stays in its cell, and is only text there.
func TestPlan_InTheSummaryShowsHostileTextAsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const hostile = "x | forged |</details><img src=//evil.example/p.png> [a](javascript:b) ![c](http://evil.example) ~~d~~ `e` ::error::f"
	w.exits(exit.OK, "lock", "acquire", "-m", hostile)
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    cmd: [serve, \""+hostile+"\\n| boot | vm9 | + forged |\\n\\n# forged\"]\n    volumes: [\"/srv/a|b<i>:/data\"]\n")
	w.image("v1")
	summary, outputs := w.plansOnGitHub(exit.OK, "--image", w.image("v1"), "--version", "v1")
	for line := range strings.Lines(summary) {
		row := strings.HasPrefix(line, "|")
		if pipes := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); pipes > 0 && (!row || pipes != 4) {
			t.Errorf("a line breaks the table: %q", line)
		}
		if strings.HasPrefix(line, "# ") {
			t.Errorf("there is a forged heading: %q", line)
		}
	}
	for _, never := range []string{"<img", "</details>", "[a](", "![c](", "~~d~~", "://evil", "\n| boot | vm9"} {
		if strings.Contains(summary, never) {
			t.Errorf("the summary has %q:\n%s", never, summary)
		}
	}
	if !strings.Contains(summary, `x \| forged \|`) || outputs["result"] != "pending" {
		t.Errorf("the hostile text is not shown, or the outputs %v are forged:\n%s", outputs, summary)
	}
}
