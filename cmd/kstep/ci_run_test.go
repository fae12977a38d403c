package main

import (
	"maps"
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

// The user who reads a job's log can set a variable there, but no file of the runner.
func TestMissingSecret_HasTheHintOfTheCISystem(t *testing.T) {
	t.Parallel()
	const byHand = "set the variable TOKEN in the environment of this job"
	onGitHub := []string{"hint: give it to this step: env: TOKEN: ${{ secrets.TOKEN }}", "hint: a secret of an environment reaches only a job"}
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"GitHub":                   {map[string]string{"GITHUB_ACTIONS": "true"}, onGitHub},
		"GitHub, a secret unknown": {map[string]string{"GITHUB_ACTIONS": "true", "TOKEN": ""}, onGitHub},
		"GitLab": {map[string]string{"GITLAB_CI": "true", "NO_COLOR": "1", "CI_COMMIT_REF_NAME": "feature", "CI_COMMIT_REF_PROTECTED": "false"},
			[]string{"hint: add the CI/CD variable TOKEN", "hint: a protected variable does not reach this job: feature is not protected"}},
		"by hand": {nil, []string{"hint: " + byHand}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("env: {secret: [TOKEN]}\n")
			maps.Copy(w.env, c.env)
			w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
			for _, args := range [][]string{{"preflight"}, {"env-push"}, {"deploy", "--image", w.image("v1"), "--version", "v1"}, {"secrets", "list", "--check"}} {
				_, stderr := w.exits(exit.Config, args...)
				for _, want := range c.want {
					if !strings.Contains(stderr, want) {
						t.Errorf("kstep %s has no %q:\n%s", args[0], want, stderr)
					}
				}
				if len(c.env) > 0 && strings.Contains(stderr, byHand) {
					t.Errorf("kstep %s gives the hint for a terminal, too:\n%s", args[0], stderr)
				}
			}
		})
	}
}
