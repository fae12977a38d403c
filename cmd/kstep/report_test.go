package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/timeline"
)

// recorded is where internal/timeline has the state files of real runs. With
// -update, the tests here write them again.
const recorded = "../../internal/timeline/testdata/state"

// onCI makes the runs those of a CI job, so that nothing of this machine's user is
// recorded.
func (w *world) onCI() *world {
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_ACTOR"] = "true", "ada"
	w.env["GITHUB_SERVER_URL"], w.env["GITHUB_REPOSITORY"], w.env["GITHUB_RUN_ID"] = "https://github.com", "acme/shop", "4711"
	return w
}

// commit makes a commit of the project's folder.
func (w *world) commit(subject string) {
	w.t.Helper()
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "kstep.yml"},
		{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--allow-empty", "--message=" + subject},
	} {
		cmd := exec.CommandContext(w.t.Context(), "git", args...)
		cmd.Dir = w.dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

// reports compares the timeline of the state folder with the golden file of the
// scenario.
func (w *world) reports(scenario string) {
	w.t.Helper()
	if *update {
		to := filepath.Join(recorded, scenario)
		if err := os.RemoveAll(to); err != nil {
			w.t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(w.dir, "kstep-state", "*.json"))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, file := range files {
			copyFile(w.t, file, filepath.Join(to, filepath.Base(file)))
		}
	}
	stdout, _ := w.exits(exit.OK, "report", "--output", "json")
	var t timeline.Timeline
	if err := json.Unmarshal([]byte(stdout), &t); err != nil {
		w.t.Fatal(err)
	}
	got, golden := outline(w.t, t), filepath.Join("testdata", "report", scenario+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	if want := readText(w.t, golden); got != want {
		w.t.Errorf("%s: got\n%s\nwant\n%s", scenario, got, want)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// volatile is what differs between two runs.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d+(\.\d+)? m?s\b`), "TIME"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d\d\d`), "CLOCK"},
	{regexp.MustCompile(`\d+ (probe )?requests?`), "N ${1}requests"},
	{regexp.MustCompile(`\d+ connections? cut`), "N connections cut"},
	{regexp.MustCompile(`: \w+, (exit status \d+), restarts \d+`), ": STATE, $1, N restarts"},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), "ID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "REGISTRY"},
}

// outline is a timeline without what differs between two runs.
func outline(t *testing.T, found timeline.Timeline) string {
	t.Helper()
	var b strings.Builder
	line := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		for _, v := range volatile {
			text = v.pattern.ReplaceAllString(text, v.with)
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line("%s: %s", found.Outcome, found.Sentence)
	line("before %q, first %t, subject %q, traffic %t", found.Before, found.First, found.Subject, found.Traffic != nil && found.Traffic.Probed)
	for _, a := range found.Actors {
		line("by %s, %s %s: %s", a.User, a.CI, a.URL, strings.Join(a.Stages, " "))
	}
	for _, s := range found.Stages {
		if s.Status == state.Interrupted {
			s.Reason = ""
		}
		line("%s %s %s %s", s.Name, s.Status, strings.Join(s.Facts, "; "), s.Reason)
		for _, one := range s.Targets {
			var marks []string
			for _, m := range one.Marks {
				marks = append(marks, string(m.Kind))
				if m.Kind == timeline.Switched && (m.Pos < s.Bar.Left || m.Pos > s.Bar.Left+s.Bar.Width) {
					t.Errorf("%s was switched outside of %s", one.Name(), s.Name)
				}
			}
			if one.Status == state.Interrupted {
				marks, one.Facts, one.Error = nil, nil, "" // They depend on the instant.
			}
			line("  %s %s %s", one.Name(), one.Word(), strings.Join(marks, " "))
			for _, text := range append(append(one.Facts, one.Acts...), one.Error) {
				if text != "" {
					line("    %s", text)
				}
			}
		}
	}
	for _, f := range found.Failures {
		if f.Class == exit.Interrupted.Class() {
			continue // What it waited for depends on the instant.
		}
		line("failed %s %s %s: %s", f.Stage, f.Where, f.Class, f.Message)
		for i, d := range f.Detail {
			if slices.Contains(f.Detail[:i], d) {
				continue // The engine started the container again.
			}
			line("  | %s", d)
		}
	}
	for _, c := range found.Commands {
		line("%s: %s", c.Purpose, c.Line)
	}
	for _, n := range found.Notes {
		line("note: %s", n)
	}
	return b.String()
}

func TestReport_ShowsDeploysAndARollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onCI()
	w.commit("Sell shoes")
	w.deploy("v1")
	w.reports("first-deploy")
	w.forget()
	w.commit("Sell <b>hats</b> & gloves")
	w.deploy("v2")
	w.reports("second-deploy")
	w.pages(t)
	w.forget()
	w.exits(exit.OK, "rollback")
	w.reports("rolled-back")
}

// pages checks the command's other outputs.
func (w *world) pages(t *testing.T) {
	w.operations()
	page := filepath.Join(t.TempDir(), "new", "report.html")
	stdout, _ := w.exits(exit.OK, "report", "--html", page)
	html := readText(t, page)
	if info, err := os.Stat(page); err != nil || info.Mode().Perm() != 0o644 || stdout != "wrote "+page+"\n" {
		t.Errorf("it prints %q, and the page is %v (%v)", stdout, info, err)
	}
	if !strings.HasPrefix(html, "<!doctype html>") || !strings.Contains(html, "Sell &lt;b&gt;hats&lt;/b&gt; &amp; gloves") {
		t.Errorf("this is no page with the commit:\n%s", html)
	}
	summary := filepath.Join(t.TempDir(), "summary.md")
	w.env["GITHUB_STEP_SUMMARY"] = summary
	w.exits(exit.OK, "report", "--summary")
	markdown, _ := w.exits(exit.OK, "report", "--format", "markdown")
	if got := readText(t, summary); strings.TrimSpace(got) != strings.TrimSpace(markdown) || !strings.Contains(got, "| cutover | ok |") {
		t.Errorf("the summary is\n%s\nand the short form\n%s", got, markdown)
	}
	delete(w.env, "GITHUB_STEP_SUMMARY")
	w.refuses(exit.Usage, "GITHUB_STEP_SUMMARY is not set", "report", "--summary")
	w.refuses(exit.MissingState, "no state files of release 01ARZ3NDEKTSV4RRFFQ69G5FAV", "report", "--release", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
	if ops := w.operations(); len(ops) > 0 {
		t.Errorf("a report contacts hosts: %v", ops)
	}
}

func TestReport_ShowsWhatFailedAndWhatWasInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onCI()
	w.deploy("v1")
	w.forget()
	w.hosts["vm1"].Engine.Behave("acme/shop:v2", hosttest.Behaviour{Exit: new(3), Log: []string{"starting", "no database at db:5432"}})
	w.exits(exit.Partial, w.deployArgs("v2")...)
	w.reports("in-part")

	w.forget()
	ctx, cancel := context.WithCancelCause(t.Context())
	w.behave("v3", hosttest.Behaviour{Handler: func(p hosttest.Process) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if strings.Contains(p.Name, "-web-") { // barrier-wait waits for this answer.
				cancel(exit.Errorf(exit.Interrupted, "interrupted"))
			}
			<-r.Context().Done()
		})
	}})
	w.stages("v3", "assets", "env-push", "boot")
	if ctx.Err() != nil {
		t.Fatal("the application was asked before barrier-wait")
	}
	if code, _, stderr := w.kstepIn(ctx, "barrier-wait"); code != exit.Interrupted {
		t.Fatalf("barrier-wait ends with %d:\n%s", code, stderr)
	}
	w.reports("interrupted")
	w.exits(exit.OK, "abort", "--yes")
	w.reports("aborted")
}

func TestReport_UnitesShardsOfWhichOneFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onCI()
	w.needsDevice("job")
	w.stages("v1", "assets", "env-push")
	w.exits(exit.OK, "boot", "--roles", "web")
	w.env["GITHUB_RUN_ID"] = "4712"
	w.exits(exit.Failed, "boot", "--roles", "job")
	w.reports("shards")
	folder := filepath.Join(w.dir, "kstep-state")
	for _, name := range []string{"push.json", "assets.json"} { // As a CI job that fetched only some.
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.write(filepath.Join("kstep-state", "env-push.json"), `{"apiVersion": "kstep/v1", "kind": "Sta`)
	stdout, _ := w.exits(exit.OK, "report")
	for _, want := range []string{"env-push.json cannot be read: env-push.json ends in the middle", "the files of push, assets and env-push"} {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
			t.Errorf("the report does not say %q:\n%s", want, cmp.Or(stdout, "nothing"))
		}
	}
}

func TestReport_NeedsNoConfiguration(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	p := &program{env: func(string) (string, bool) { return "", false }, stdout: &out, stderr: &errs}
	args := []string{"report", "--config", filepath.Join(t.TempDir(), "kstep.yml"), "--state-dir", filepath.Join(recorded, "second-deploy")}
	if code := p.run(t.Context(), args); code != exit.OK || !strings.Contains(out.String(), "shop v2") {
		t.Errorf("it ends with %d:\n%s%s", code, out.String(), errs.String())
	}
	args[len(args)-1] = t.TempDir()
	if code := p.run(t.Context(), args); code != exit.MissingState || !strings.Contains(errs.String(), "no state files in ") {
		t.Errorf("without files it ends with %d:\n%s", code, errs.String())
	}
}
