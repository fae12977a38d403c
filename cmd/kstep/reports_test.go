package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// reports are what a CI system gets of a command.
type reports struct{ log, summary, junit string }

// onGitHub runs a command as GitHub Actions would.
func (w *world) onGitHub(want exit.Code, args ...string) reports {
	w.t.Helper()
	dir := w.t.TempDir()
	summary, junit := filepath.Join(dir, "summary.md"), filepath.Join(dir, "junit.xml")
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_STEP_SUMMARY"], w.env["GITHUB_OUTPUT"] = "true", summary, filepath.Join(dir, "out")
	_, stderr := w.exits(want, append(args, "--junit-file", junit)...)
	return reports{stderr, readText(w.t, summary), readText(w.t, junit)}
}

func (r reports) have(t *testing.T, where string, parts ...string) {
	t.Helper()
	text := map[string]string{"log": r.log, "summary": r.summary, "junit": r.junit}[where]
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("the %s has no %q:\n%s", where, part, text)
		}
	}
}

func TestReports_OfADeployHaveAllThatWasDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	r := w.onGitHub(exit.OK, w.deployArgs("v2")...)
	r.have(t, "summary",
		"| boot | ✅ ok |", "| boot | vm1 | web | created shop-web-v2 |", "| boot | vm1 | web | started shop-web-v2 |",
		"| cutover | vm2 | web | moved traffic to shop-web-v2 |", "| cutover | vm2 | web | stopped shop-web-v1 |",
		"| cutover | vm3 | job | stopped shop-job-v1 |")
	if strings.Contains(r.junit, "<failure") || strings.Contains(r.junit, `name=""`) || strings.Contains(r.summary, "❌") {
		t.Errorf("the reports of a deploy that went well have a failure or a stage without a name:\n%s\n%s", r.summary, r.junit)
	}
}

func TestReports_OfAClosedBarrierBlameWhatFailedAndShowItsLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.behave("v2", hosttest.Behaviour{Handler: sick, Log: []string{"cannot reach the database"}})
	r := w.onGitHub(exit.BarrierClosed, w.deployArgs("v2")...)
	const evidence = "exit status 0, restarts 0, out of memory: false"
	r.have(t, "log", "::error title=barrier-wait of web on vm1::GET /up answered 503")
	for line := range strings.Lines(r.log) {
		if strings.HasPrefix(line, "::error title=barrier-wait of web") && (!strings.Contains(line, evidence) || !strings.Contains(line, "cannot reach the database")) {
			t.Errorf("the annotation has neither the container's state nor its log:\n%s", line)
		}
	}
	r.have(t, "summary", "2 of 3 failed", evidence, "log: cannot reach the database")
	r.have(t, "junit", `failures="2" skipped="1"`, evidence, "log: cannot reach the database", `<skipped message="halted at the barrier">`)
	for where, text := range map[string]string{"log": r.log, "summary": r.summary} {
		if strings.Contains(text, "::error title=barrier-wait of job") || strings.Contains(text, "❌ **barrier-wait** on vm3") {
			t.Errorf("the %s blames the worker, which only waited:\n%s", where, text)
		}
	}
}

func TestReports_OfAContainerThatDiesBeforeTheCutoverShowItsLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.behave("v2", hosttest.Behaviour{Log: []string{"out of jobs"}})
	w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
	three := 3
	w.behave("v2", hosttest.Behaviour{Log: []string{"out of jobs"}, Exit: &three})
	w.hosts["vm3"].Engine.Crash("shop-job-v2", 4)
	r := w.onGitHub(exit.Failed, "cutover")
	r.have(t, "summary", "container shop-job-v2: ", "log: out of jobs")
	r.have(t, "junit", "container shop-job-v2: ")
}
