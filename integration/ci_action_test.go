//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/kstep/kstep/integration/rig"
)

func TestGitHub_DefinitionsPassActionlint(t *testing.T) {
	t.Parallel()
	r := takeRig(t)
	dir := r.Deployer.Path("ci-lint")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, ".github/actions"), os.DirFS(actions)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"deploy.yml", "deploy-hosts.yml", "approve.yml"} {
		// Of an action beside the workflow the inputs and outputs are checked too.
		text := strings.ReplaceAll(readFile(t, filepath.Join(examples, "github", name)),
			"kstep/kstep/.github/actions/kstep@"+actionCommit(t), "./.github/actions/kstep")
		if err := os.MkdirAll(filepath.Join(dir, ".github/workflows"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".github/workflows", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, rig: r, app: &rig.App{Work: "ci-lint"}}
	if log, code := w.ci(nil, "bash", "-c", "git init --quiet && exec "+ciTools+"/actionlint"); code != 0 {
		t.Errorf("actionlint exits with %d:\n%s", code, log)
	}
}

func TestGitHub_CancelledStepLeavesItsState(t *testing.T) {
	t.Parallel()
	s := settings{extra: "healthcheck: {interval: 200ms, retries: 500}\n"}
	w := begin(t, s)
	w.commit(s.version("v1", "unhealthy"))
	for _, stage := range allStages()[:5] {
		w.must(stage)
	}
	// The runner signals the shell of a step, and nothing else.
	step, err := w.rig.Deployer.Start(t.Context(), []string{"KSTEP=kstep", "STAGE=barrier-wait", "ARGS="}, w.app.Work,
		"bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", stepScript(t))
	if err != nil {
		t.Fatal(err)
	}
	w.eventually(func() error {
		if _, stderr := step.Output(); !strings.Contains(stderr, "ready") { // The worker is, soon.
			return fmt.Errorf("the stage does not come to its work: %s", stderr)
		}
		return nil
	})
	if err := step.Signal(t.Context(), "INT"); err != nil {
		t.Fatal(err)
	}
	result, err := step.Wait()
	if err != nil || result.Exit != 130 {
		t.Errorf("exit status %d, %v, want 130\n%s", result.Exit, err, result.Stderr)
	}
	if got := w.state("barrier-wait")["status"]; got != "interrupted" {
		t.Errorf("barrier-wait.json says %v, want interrupted", got)
	}
}

// stepScript is what the action runs.
func stepScript(t *testing.T) string {
	t.Helper()
	var action struct {
		Runs struct{ Steps []struct{ ID, Run string } }
	}
	if err := yaml.Unmarshal([]byte(readFile(t, filepath.Join(actions, "kstep/action.yml"))), &action); err != nil {
		t.Fatal(err)
	}
	steps := action.Runs.Steps
	if len(steps) == 0 || steps[len(steps)-1].ID != "stage" {
		t.Fatalf("the action's steps are %v, want the last to be the stage", steps)
	}
	return steps[len(steps)-1].Run
}

func TestGitHubAction_InstallsTheKstepThatIsAskedFor(t *testing.T) {
	t.Parallel()
	fake := filepath.Join(t.TempDir(), "kstep")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho kstep v1.2.3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	onPath := "PATH=" + filepath.Dir(fake) + ":/usr/bin:/bin"
	for name, c := range map[string]struct {
		env  []string
		path string // What is used; empty: an error.
		says string
	}{
		"the given one":                 {[]string{"PATH=/usr/bin:/bin", "WANTED_PATH=" + fake}, fake, ""},
		"a given one that is not there": {[]string{"PATH=/usr/bin:/bin", "WANTED_PATH=/none"}, "", "/none is no program"},
		"any on the PATH":               {[]string{onPath}, fake, ""},
		"the version on the PATH":       {[]string{onPath, "WANTED_VERSION=1.2.3"}, fake, ""},
		"another version, without Go":   {[]string{onPath, "WANTED_VERSION=v2.0.0"}, "", "kstep v2.0.0 is not on the PATH, and there is no Go"},
		"the action's own":              {append(os.Environ(), "GOFLAGS=-buildvcs=false"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "output")
			action, err := filepath.Abs(filepath.Join(actions, "kstep"))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(action, "install.sh"))
			cmd.Env = append([]string{"WANTED_PATH=", "WANTED_VERSION="}, c.env...)
			cmd.Env = append(cmd.Env, "GITHUB_OUTPUT="+output, "GITHUB_ACTION_PATH="+action, "RUNNER_TEMP="+t.TempDir())
			log, err := cmd.CombinedOutput()
			if name == "the action's own" {
				if made := strings.TrimSpace(readFile(t, output)); err != nil || !regexp.MustCompile(`/kstep-[\w.-]+\.\w{8}/kstep$`).MatchString(made) {
					t.Errorf("install: %v, made %q:\n%s", err, made, log)
				}
				return
			}
			if c.path == "" {
				if err == nil || !strings.Contains(string(log), c.says) {
					t.Errorf("install says %v, want an error with %q:\n%s", err, c.says, log)
				}
				return
			}
			if err != nil || !strings.HasSuffix(strings.TrimSpace(readFile(t, output)), c.path) {
				t.Errorf("install: %v, want %s:\n%s", err, c.path, log)
			}
		})
	}
}
