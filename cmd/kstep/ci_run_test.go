package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/hook/hooktest"
)

func TestPush_NeedsNoSSHKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("ssh:\n", "ssh:\n  key_data: [SSH_PRIVATE_KEY]\n")
	w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	_, stderr := w.exits(exit.Config, "assets")
	if !strings.Contains(stderr, "SSH_PRIVATE_KEY is missing") {
		t.Errorf("assets without its key says:\n%s", stderr)
	}
}

func TestHooks_CannotShowASecretThatIsNotUsedYet(t *testing.T) {
	w := newWorld(t)
	w.configure("env: {secret: [DATABASE_URL]}\n")
	// What the app reads is this test's; a hook has the process's environment.
	t.Setenv("DATABASE_URL", "postgres://s3cr3t")
	w.env["DATABASE_URL"] = "postgres://s3cr3t"
	hooks := filepath.Join(w.dir, ".kstep", "hooks")
	if err := os.MkdirAll(hooks, 0o700); err != nil {
		t.Fatal(err)
	}
	hooktest.Program(t, filepath.Join(hooks, "pre-env-push"), "#!/bin/sh\necho it is $DATABASE_URL\n")
	w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	stdout, stderr := w.exits(exit.OK, "env-push")
	if strings.Contains(stdout+stderr, "s3cr3t") || !strings.Contains(stderr, "it is [REDACTED]") {
		t.Errorf("the hook's words are not masked:\n%s%s", stdout, stderr)
	}
}

func TestConfigErrors_AreAnnotatedAndTellTheExitCodeOnGitHub(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("healthchek: {port: 80}\n")
	out := filepath.Join(t.TempDir(), "output")
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_OUTPUT"] = "true", out
	_, stderr := w.exits(exit.Config, "boot")
	if !strings.Contains(stderr, "::error ") || !strings.Contains(stderr, "kstep.yml,line=") {
		t.Errorf("no annotation at the line of the file:\n%s", stderr)
	}
	if got := readText(t, out); !strings.Contains(got, "exit-code") || !strings.Contains(got, "\n78\n") {
		t.Errorf("the outputs are %q, want the exit code 78", got)
	}
}
