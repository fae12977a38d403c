package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
)

// task adds a task that notes each of its runs in a file of its own, and then
// does what the script says.
func (w *world) task(name, script, more string) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "kstep.yml"))
	if err != nil {
		w.t.Fatal(err)
	}
	text := string(data)
	if !strings.Contains(text, "\ntasks:\n") {
		text += "tasks:\n"
	}
	line := fmt.Sprintf(`echo "$KSTEP_VERSION $KSTEP_ROLE@$KSTEP_HOST" >>%s; %s`, w.ran(name), script)
	w.write("kstep.yml", text+fmt.Sprintf("  %s: {cmd: [sh, -c, %q]%s}\n", name, line, more))
}

func (w *world) ran(name string) string { return filepath.Join(w.dir, "ran-"+name) }

// runs are the lines that a task's runs have written.
func (w *world) runs(name string) []string {
	w.t.Helper()
	data, err := os.ReadFile(w.ran(name))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func (w *world) ranOnly(name string, want ...string) {
	w.t.Helper()
	if got := w.runs(name); !slices.Equal(got, want) {
		w.t.Errorf("the task %s ran as %q, want %q", name, got, want)
	}
}

func TestTasks_RunOnceInAReleaseOnOneHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "echo migrating $MODE", "")
	w.task("report", "echo reported", ", run: after-cutover, role: job")
	w.append("env: {MODE: quick}\n")
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v1"), "--version", "v1")
	migrated, live, reported := strings.Index(stderr, "migrating quick"), strings.Index(stderr, "moved traffic"), strings.Index(stderr, "reported")
	if migrated < 0 || live < migrated || reported < live {
		t.Errorf("the tasks' output is not where it belongs:\n%s", stderr)
	}
	w.ranOnly("migrate", "v1 web@vm1")
	w.ranOnly("report", "v1 job@vm3")
	for _, stage := range []string{"boot", "cutover"} {
		w.exits(exit.OK, stage)
		if got := w.state(stage)["status"]; got != "unchanged" {
			t.Errorf("%s run again says %v, want unchanged", stage, got)
		}
	}
	w.deploy("v2")
	w.ranOnly("migrate", "v1 web@vm1", "v2 web@vm1")
	w.exits(exit.OK, "rollback", "v1")
	w.serves("v1")
	w.exits(exit.OK, "boot") // Nor do its stages by themselves.
	w.exits(exit.OK, "cutover")
	w.ranOnly("migrate", "v1 web@vm1", "v2 web@vm1") // Going back runs none.
	w.ranOnly("report", "v1 job@vm3", "v2 job@vm3")
	for name, fake := range w.hosts {
		left, err := fake.Look().Containers(t.Context(), engine.Filter{Labeled: []string{engine.LabelTask}, All: true})
		if err != nil || len(left) > 0 {
			t.Errorf("%s keeps the containers of tasks of older releases: %+v, %v", name, left, err)
		}
	}
}

// TestTasks_OfARollbackThatEndedBeforeBootAreNotRunByItsStages: what the release
// is stands in its state, and not only in the command that began it.
func TestTasks_OfARollbackThatEndedBeforeBootAreNotRunByItsStages(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"rollback", "v1"}, {"rollback", "--fresh", "v1"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.task("migrate", "echo migrating", "")
			w.task("report", "echo reported", ", run: after-cutover, role: job")
			w.deploy("v1")
			w.deploy("v2")
			w.hook("pre-boot", "exit 1")
			w.exits(exit.Failed, args...)
			if err := os.Remove(filepath.Join(w.dir, ".kstep", "hooks", "pre-boot")); err != nil {
				t.Fatal(err)
			}
			if out := w.state("push")["outputs"].(map[string]any); out["goesBack"] != true {
				t.Errorf("push tells %v, want that the release goes back", out)
			}
			for _, stage := range []string{"boot", "barrier-wait", "cutover"} {
				w.exits(exit.OK, stage)
			}
			w.serves("v1")
			w.ranOnly("migrate", "v1 web@vm1", "v2 web@vm1")
			w.ranOnly("report", "v1 job@vm3", "v2 job@vm3")
		})
	}
}

func TestTasks_OneThatFailsBootsNothingAndMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	mended := filepath.Join(w.dir, "mended")
	w.task("migrate", "[ -e "+mended+" ] || { echo no such column; exit 3; }", "")
	for range 2 {
		_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
		for _, want := range []string{"task migrate failed with exit status 3", "no such column", "kstep task logs migrate shows"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("the output does not tell %q:\n%s", want, stderr)
			}
		}
		if got := w.state("boot")["status"]; got != "failed" {
			t.Errorf("boot says %v, want failed", got)
		}
		for name := range w.hosts {
			if got := w.versions(name); slices.ContainsFunc(got, func(v string) bool { return strings.HasSuffix(v, " v2") }) {
				t.Errorf("%s runs %v, want nothing of v2", name, got)
			}
		}
	}
	w.serves("v1")
	w.write("mended", "")
	w.exits(exit.OK, w.deployArgs("v2")...)
	w.serves("v2")
	w.ranOnly("migrate", "v2 web@vm1", "v2 web@vm1", "v2 web@vm1")
}

func TestTasks_OneThatFailsAfterCutoverIsPartialAndMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mended := filepath.Join(w.dir, "mended")
	w.task("clean", "[ -e "+mended+" ] || exit 3", ", run: after-cutover")
	_, stderr := w.exits(exit.Partial, w.deployArgs("v1")...)
	if !strings.Contains(stderr, "task clean failed with exit status 3") {
		t.Errorf("the output does not tell of the task:\n%s", stderr)
	}
	w.serves("v1")
	w.write("mended", "")
	w.exits(exit.OK, "cutover") // The job of this stage alone.
	w.ranOnly("clean", "v1 web@vm1", "v1 web@vm1")
	w.exits(exit.OK, "prune")
}

// TestTasks_RunOnceWhereverTheirRunnerIsKilled kills a stage before each of its
// operations from where its tasks come on, each time with a new version.
func TestTasks_RunOnceWhereverTheirRunnerIsKilled(t *testing.T) {
	t.Parallel()
	for moment, c := range map[string]struct{ stage, after string }{
		"before-boot":   {"boot", "GET /containers/json"},
		"after-cutover": {"cutover", "POST /images/"},
	} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("web: [vm1, vm2]\n  job:\n    hosts: [vm3]\n    cmd: work hard\n    healthcheck: {cmd: \"true\"}", "web: [vm1]")
			w.task("migrate", "true", ", run: "+moment)
			ledgerFile := filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/ledger.json")
			for k, done := 1, false; !done; k++ {
				version := fmt.Sprintf("v%d", k)
				w.exits(exit.OK, "push", "--image", w.image(version), "--version", version)
				for _, s := range pipeline()[2:] {
					name := s.Info().Name
					if name == c.stage {
						var count atomic.Int64
						w.killedAt(func(op host.Op) bool {
							if count.Load() == 0 && !strings.HasPrefix(op.Name, c.after) {
								return false
							}
							return count.Add(1) > int64(3*k)
						}, name)
						done = w.noted(ledgerFile) == ledger.TaskDone
					}
					w.exits(exit.OK, name)
				}
				if runs := w.runs("migrate"); len(runs) != k {
					t.Fatalf("killed at operation %d of %s: the task ran as %q, want once for each version", 3*k, c.stage, runs)
				}
			}
		})
	}
}

// noted is how far the newest release's task is.
func (w *world) noted(file string) ledger.TaskStatus {
	w.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	var book ledger.Ledger
	if err := json.Unmarshal(data, &book); err != nil {
		w.t.Fatal(err)
	}
	return book.Task(book.Newest(), "migrate").Status
}

// once calls do when kstep has run an operation of that name on a host.
func (w *world) once(name string, do func()) {
	asked := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.ops, func(op host.Op) bool { return strings.Contains(op.Name, name) })
	}
	for !asked() && w.t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	do()
}

func TestTasks_OneThatStillRunsIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	goOn := filepath.Join(w.dir, "go-on")
	w.task("migrate", "echo first half; until [ -e "+goOn+" ]; do sleep 0.05; done; echo second half", "")
	w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	ctx, end := context.WithCancelCause(t.Context())
	w.operations()
	go w.once("/logs", func() { end(exit.Errorf(exit.Interrupted, "interrupted")) })
	code, _, stderr := w.kstepIn(ctx, "boot")
	if code != exit.Interrupted || !strings.Contains(stderr, "goes on in shop-task-migrate-v1") {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	w.write("go-on", "")
	_, stderr = w.exits(exit.OK, "boot")
	for _, want := range []string{"was started before", "first half", "second half", "ran task migrate"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the output does not tell %q:\n%s", want, stderr)
		}
	}
	w.ranOnly("migrate", "v1 web@vm1")
}

func TestTasks_OneThatMayHaveDoneItsWorkNeverRunsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, more, want string }{
		"its container is gone":      {"exit 0", "", "its container is gone"},
		"it ended well when stopped": {"trap 'exit 0' TERM; while :; do sleep 0.02; done", ", timeout: 300ms", "it was stopped after 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.task("migrate", c.script, c.more)
			w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
			w.exits(exit.OK, "assets")
			w.exits(exit.OK, "env-push")
			if c.more == "" { // Killed right after the start, and then the container is removed by hand.
				w.killedAt(func(op host.Op) bool { return strings.Contains(op.Name, "/logs") }, "boot")
				look := w.hosts["vm1"].Look()
				if err := look.Remove(t.Context(), "shop-task-migrate-v1"); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				_, stderr := w.exits(exit.Failed, "boot")
				for _, want := range []string{"task migrate may have done its work: " + c.want, "--new-release"} {
					if !strings.Contains(stderr, want) {
						t.Errorf("the output does not tell %q:\n%s", want, stderr)
					}
				}
			}
			if got := len(w.runs("migrate")); got != 1 {
				t.Errorf("the task ran %d times, want once", got)
			}
		})
	}
}

func TestTasks_OneThatTakesTooLongIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "sleep 60", ", timeout: 3s")
	_, stderr := w.exits(exit.Failed, w.deployArgs("v1")...)
	if !strings.Contains(stderr, "task migrate was stopped after 3s (exit status 143)") {
		t.Errorf("the output does not tell why:\n%s", stderr)
	}
}

func TestTasks_OneOfAnOlderReleaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	goOn := filepath.Join(w.dir, "go-on")
	w.task("migrate", "[ $KSTEP_VERSION = v2 ] || until [ -e "+goOn+" ]; do sleep 0.05; done; echo end >>"+w.ran("migrate"), "")
	w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	w.killedAt(func(op host.Op) bool { return strings.Contains(op.Name, "/logs") }, "boot")
	w.exits(exit.OK, "abort")
	w.operations()
	go w.once("GET /events", func() { _ = os.WriteFile(goOn, nil, 0o600) })
	_, stderr := w.exits(exit.OK, w.deployArgs("v2")...)
	if !strings.Contains(stderr, "still runs: waiting for its end") {
		t.Errorf("the output does not tell of the older one:\n%s", stderr)
	}
	w.ranOnly("migrate", "v1 web@vm1", "end", "v2 web@vm1", "end")
}

func TestTasks_RunInTheShardThatHasTheirHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "sleep 0.2", "")
	w.task("clean", "true", ", run: after-cutover, role: job")
	jobs := []*job{w.pushedBy("v1")}
	shards := w.matrix("--by", "host")
	for _, stage := range pipeline()[2:] {
		jobs = append(jobs, w.fanOut(stage.Info().Name, shards, jobs)...)
		if stage.Info().Name == "boot" {
			w.ranOnly("migrate", "v1 web@vm1")
		}
		if stage.Info().Name == "cutover" {
			w.ranOnly("clean", "v1 job@vm3")
		}
	}
	w.serves("v1")
}

func TestTasks_AShardDoesNotBootWithoutThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("migrate", "exit 7", ", timeout: 3s")
	jobs := []*job{w.pushedBy("v1")}
	all := []shard{{Roles: "*", Hosts: "*"}}
	for _, stage := range []string{"assets", "env-push"} {
		jobs = append(jobs, w.fanOut(stage, all, jobs)...)
	}
	other := w.job().fetch(jobs...)
	if out := other.must(exit.Deadline, "boot", "--hosts", "vm2"); !strings.Contains(out, "no job has run task migrate on vm1 within 3s") {
		t.Errorf("got\n%s", out)
	}
	w.job().fetch(jobs...).must(exit.Failed, "boot", "--hosts", "vm1")
	if out := other.must(exit.Failed, "boot", "--hosts", "vm2"); !strings.Contains(out, "task migrate failed on vm1 with exit status 7") {
		t.Errorf("got\n%s", out)
	}
	if got := w.versions("vm2"); len(got) > 0 {
		t.Errorf("vm2 runs %v, want nothing", got)
	}
}
