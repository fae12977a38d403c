package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// commits makes a commit of the world's folder, which becomes a repository.
func (w *world) commits(message string) {
	w.t.Helper()
	w.write("version.txt", message)
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "kstep.yml", "version.txt"},
		{"-c", "user.name=A", "-c", "user.email=a@example.com", "commit", "-q", "-m", message},
	} {
		cmd := exec.CommandContext(w.t.Context(), "git", args...)
		cmd.Dir = w.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			w.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

// newestRelease is the one in the state folder.
func (w *world) newestRelease() string {
	w.t.Helper()
	release, _ := w.state("push")["release"].(string)
	return release
}

func TestStateFromHosts_IsNotTakenOfAnotherCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.commits("one")
	w.pushed("v1", "--state-from", "hosts")
	w.exits(exit.OK, "assets", "--state-from", "hosts")
	release := w.newestRelease()
	w.commits("two")
	w.forget()
	_, stderr := w.exits(exit.BadState, "env-push", "--state-from", "hosts")
	for _, want := range []string{"is of commit", "this checkout is at", "KSTEP_RELEASE", "kstep env-push --state-from hosts --release " + release} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the refusal lacks %q:\n%s", want, stderr)
		}
	}
	w.forget()
	w.exits(exit.OK, "env-push", "--state-from", "hosts", "--release", release)
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		w.forget()
		w.exits(exit.OK, stage, "--state-from", "hosts", "--release", release)
	}
	w.serves("v1")
}

// Two pipelines at once, on runners without artifacts: each goes on with its own.
func TestRelease_ThatIsNamedIsTheOneThatGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1", "--state-from", "hosts")
	first := w.newestRelease()
	w.forget()
	w.pushed("v2", "--state-from", "hosts")
	second := w.newestRelease()
	w.forget()
	w.exits(exit.OK, "assets", "--state-from", "hosts", "--release", first)
	if got := w.state("assets")["version"]; got != "v1" {
		t.Errorf("the first pipeline goes on with %v, want v1", got)
	}
	w.forget()
	w.exits(exit.LeaseHeld, "assets", "--state-from", "hosts", "--release", second)
	w.exits(exit.OK, "lock", "release", "--force")
	w.exits(exit.OK, "assets", "--state-from", "hosts", "--release", second)
	_, stderr := w.exits(exit.BadState, "push", "--image", w.image("v2"), "--version", "v2", "--release", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ")
	if !strings.Contains(stderr, "has no push of release 7ZZZZZZZZZZZZZZZZZZZZZZZZZ") {
		t.Errorf("an unknown release is not named:\n%s", stderr)
	}
}
