package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/audit"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// audited are the entries that `kstep audit` shows, in short.
func (w *world) audited(args ...string) (lines []string, entries []audit.Entry) {
	w.t.Helper()
	stdout, _ := w.exits(exit.OK, append([]string{"audit", "--output", "json", "-n", "0"}, args...)...)
	var answer struct{ Entries []audit.Entry }
	if err := json.Unmarshal([]byte(stdout[:strings.Index(stdout, "\n")]), &answer); err != nil {
		w.t.Fatalf("%v in %s", err, stdout)
	}
	for _, e := range answer.Entries {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", e.Host, e.Command, e.Version, e.Status))
	}
	return lines, answer.Entries
}

func TestAudit_TellsWhatWasDoneOnWhichHostAndNothingOfARerunThatChangedNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["GITLAB_CI"], w.env["GITLAB_USER_LOGIN"], w.env["CI_JOB_URL"] = "true", "alice", "https://ci.example/jobs/7"
	w.deploy("v1")
	lines, entries := w.audited("--hosts", "vm1")
	want := []string{"vm1 assets v1 ok", "vm1 env-push v1 ok", "vm1 boot v1 ok", "vm1 cutover v1 ok"}
	if !slices.Equal(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l == "vm1 prune v1 ok" }), want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	for _, e := range entries {
		if e.By != "alice" || e.Run != "https://ci.example/jobs/7" || e.Release == "" || e.At.IsZero() || !slices.Contains(e.Roles, "web") || len(e.Changed) == 0 {
			t.Errorf("an entry tells not all: %+v", e)
		}
	}
	before, _ := w.audited()
	w.exits(exit.OK, "cutover")
	w.exits(exit.OK, "audit")
	if after, _ := w.audited(); !slices.Equal(before, after) {
		t.Errorf("a rerun that changed nothing left %q", after[len(before):])
	}
	w.says("vm3", "audit", "-n", "3", "--since", "1h")
	if stdout, _ := w.exits(exit.OK, "audit", "-n", "3"); strings.Count(stdout, "\n") != 4 {
		t.Errorf("-n 3 showed\n%s", stdout)
	}
}

func TestAudit_TellsWhatFailedAndWhatWasDoneByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.behave("v2", hosttest.Behaviour{Sick: true})
	w.exits(exit.Partial, "deploy", "--image", w.image("v2"), "--version", "v2")
	w.exits(exit.OK, "app", "exec", "--once", "--", "sh", "-c", "true hunter2")
	w.exits(exit.OK, "lock", "acquire", "-m", "holiday")
	w.exits(exit.OK, "lock", "release")
	w.exits(exit.OK, "proxy", "restart", "--hosts", "vm2")
	lines, entries := w.audited()
	for _, want := range []string{
		"vm3 barrier-wait v2 failed", "vm3 cutover v2 failed", "vm1 app exec  ok", "vm1 lock acquire  ok", "vm1 lock release  ok", "vm2 proxy restart  ok",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q in %q", want, lines)
		}
	}
	told := fmt.Sprintf("%+v", entries)
	for _, want := range []string{"ran sh", "held the lease: holiday"} {
		if !strings.Contains(told, want) {
			t.Errorf("no %q in %s", want, told)
		}
	}
	if strings.Contains(told, "hunter2") {
		t.Error("a program's arguments are in the log")
	}
}

func TestAudit_ThatCannotBeWrittenFailsNoStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	log := filepath.Join(w.hosts["vm2"].Home, ".kstep", "shop", "audit.jsonl")
	if err := errors.Join(os.Remove(log), os.Mkdir(log, 0o755)); err != nil {
		t.Fatal(err)
	}
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
	if !strings.Contains(stderr, "not in the host's audit log") {
		t.Errorf("nobody was told:\n%s", stderr)
	}
	w.serves("v2")
}
