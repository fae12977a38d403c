package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// installer runs the action's install.sh with a PATH of its own, on which `go` is
// a script that makes a kstep of version v9.9.9.
type installer struct {
	t                  *testing.T
	bin, runnerTemp    string
	action, outputFile string
}

func newInstaller(t *testing.T) *installer {
	t.Helper()
	source := filepath.Join(t.TempDir(), "0123456789ab")
	action := filepath.Join(source, ".github/actions/kstep")
	i := &installer{t: t, bin: t.TempDir(), runnerTemp: t.TempDir(), action: action, outputFile: filepath.Join(t.TempDir(), "output")}
	i.program(filepath.Join(i.bin, "go"), `case $1 in env) echo go1.99; exit;; esac
printf '#!/bin/sh\necho kstep v9.9.9\n' >"$GOBIN/kstep"
chmod 755 "$GOBIN/kstep"`)
	for file, text := range map[string]string{
		filepath.Join(action, "install.sh"):        readText(t, filepath.Join(filepath.Dir(githubAction), "install.sh")),
		filepath.Join(action, "../common.sh"):      readText(t, filepath.Join(filepath.Dir(githubAction), "../common.sh")),
		filepath.Join(source, "cmd/kstep/main.go"): "package main\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func (i *installer) program(file, script string) string {
	i.t.Helper()
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil { //nolint:gosec // It is a program.
		i.t.Fatal(err)
	}
	return file
}

// run returns the log and the output `path`, which is empty after a failure.
func (i *installer) run(env ...string) (log, path string, code int) {
	i.t.Helper()
	if err := os.WriteFile(i.outputFile, nil, 0o600); err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.CommandContext(i.t.Context(), "bash", filepath.Join(i.action, "install.sh"))
	cmd.Env = append([]string{
		"PATH=" + i.bin + ":/usr/bin:/bin", "WANTED_PATH=", "WANTED_VERSION=", "GIT_CEILING_DIRECTORIES=/",
		"GITHUB_OUTPUT=" + i.outputFile, "GITHUB_ACTION_PATH=" + i.action, "RUNNER_TEMP=" + i.runnerTemp,
	}, env...)
	out, _ := cmd.CombinedOutput() // The status is looked at.
	return string(out), strings.TrimPrefix(strings.TrimSpace(readText(i.t, i.outputFile)), "path="), cmd.ProcessState.ExitCode()
}

func TestGitHubAction_RefusesInputsThatCouldWriteLinesOfTheirOwn(t *testing.T) {
	t.Parallel()
	i := newInstaller(t)
	for name, value := range map[string]string{
		"WANTED_PATH=":     "x\n::add-mask::deploy",
		"WANTED_PATH=/":    "bin/x\r::stop-commands::y",
		"WANTED_VERSION=":  "v1\n::set-output name=x::y",
		"WANTED_VERSION=v": "1\x1b]0;title\a",
	} {
		log, path, code := i.run(name + value)
		if code != 64 || path != "" || !strings.Contains(log, "holds a line break or another control character") {
			t.Errorf("%s%q: exit status %d, path %q\n%s", name, value, code, path, log)
		}
		if strings.Count(log, "::") != 2 || strings.ContainsAny(log, "\r\x1b") {
			t.Errorf("%s%q: printed raw:\n%q", name, value, log)
		}
	}
	for _, version := range []string{"../../etc", "-x", "a/b", "v1 v2", "$(id)"} {
		if log, path, code := i.run("WANTED_VERSION=" + version); code != 64 || path != "" || !strings.Contains(log, "is neither a version nor a commit") {
			t.Errorf("%q: exit status %d, path %q\n%s", version, code, path, log)
		}
	}
	odd := filepath.Join(t.TempDir(), "a\npath=b")
	i.program(odd, "echo kstep v1.2.3")
	link := filepath.Join(t.TempDir(), "kstep")
	if err := os.Symlink(odd, link); err != nil {
		t.Fatal(err)
	}
	if log, path, code := i.run("WANTED_PATH=" + link); code == 0 || path != "" {
		t.Errorf("a link to such a path: exit status %d, path %q\n%s", code, path, log)
	}
	if log, _, code := i.run("WANTED_PATH=/none%0A::add-mask::x"); code == 0 || !strings.Contains(log, "/none%250A") {
		t.Errorf("an escape of the runner: exit status %d\n%s", code, log)
	}
}

func TestGitHubAction_StageRefusesInputsWithControlCharacters(t *testing.T) {
	t.Parallel()
	var action struct{ Runs struct{ Steps []githubStep } }
	if err := yaml.Unmarshal([]byte(readText(t, githubAction)), &action); err != nil {
		t.Fatal(err)
	}
	last := action.Runs.Steps[len(action.Runs.Steps)-1]
	run := func(env ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", last.Run)
		cmd.Env = append([]string{"PATH=/usr/bin:/bin", "KSTEP=echo", "STAGE=build"}, env...)
		out, _ := cmd.CombinedOutput() // The status is looked at.
		return string(out), cmd.ProcessState.ExitCode()
	}
	for name := range last.Env {
		if name == "KSTEP" {
			continue
		}
		for _, value := range []string{"x\r::error::y", "x\x1b[2J"} {
			out, code := run(name + "=" + value)
			if code != 64 || strings.ContainsAny(out, "\r\x1b") || strings.Count(out, "::") != 2 {
				t.Errorf("%s=%q: exit status %d\n%q", name, value, code, out)
			}
		}
	}
	if out, code := run("ARGS=--a\n--b c\n", "KSTEP_HOSTS=vm*"); code != 0 || out != "build --a --b c\n" {
		t.Errorf("got %d, %q", code, out)
	}
}

func TestGitHubAction_TakesNoProgramThatOthersLeft(t *testing.T) {
	t.Parallel()
	i := newInstaller(t)
	built := regexp.MustCompile(`/kstep-0123456789ab\.\w{8}/kstep$`)
	var folders []string
	for range 2 { // The second time one is there already.
		log, path, code := i.run()
		if code != 0 || !built.MatchString(path) || filepath.Dir(filepath.Dir(path)) != i.runnerTemp {
			t.Fatalf("exit status %d, path %q\n%s", code, path, log)
		}
		if !regexp.MustCompile(`(?m)^kstep: \S+ \(kstep v9\.9\.9, sha256 [0-9a-f]{64}\), built by go1\.99$`).MatchString(log) {
			t.Errorf("got\n%s", log)
		}
		i.program(path, "echo kstep planted")
		folders = append(folders, path)
	}
	if folders[0] == folders[1] {
		t.Errorf("%s was taken again", folders[0])
	}
	for _, planted := range []string{"kstep-of-action", "kstep-0123456789ab"} {
		if err := os.MkdirAll(filepath.Join(i.runnerTemp, planted), 0o755); err != nil {
			t.Fatal(err)
		}
		i.program(filepath.Join(i.runnerTemp, planted, "kstep"), "echo kstep planted")
	}
	if log, _, code := i.run(); code != 0 || strings.Contains(log, "planted") {
		t.Errorf("exit status %d\n%s", code, log)
	}
	other := t.TempDir()
	if log, path, code := i.run("RUNNER_TEMP=", "TMPDIR="+other, "WANTED_VERSION=v9.9.9"); code != 0 || !regexp.MustCompile(`^`+other+`/kstep-v9\.9\.9\.\w{8}/kstep$`).MatchString(path) {
		t.Errorf("without RUNNER_TEMP: exit status %d, path %q\n%s", code, path, log)
	} else if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its folder has the mode %v, %v", info.Mode(), err)
	}

	onPath := i.program(filepath.Join(i.bin, "kstep"), "echo kstep v1.2.3; echo ::add-mask::x")
	if log, path, code := i.run("WANTED_VERSION=1.2.3"); code == 0 && path == onPath {
		t.Errorf("a version of two lines is the wanted one:\n%s", log)
	}
	if log, path, code := i.run(); code != 0 || path != onPath || !strings.Contains(log, "), on the PATH") || strings.Contains(log, "add-mask") {
		t.Errorf("exit status %d, path %q\n%s", code, path, log)
	}
	for name, open := range map[string]string{"a program that all may change": onPath, "a folder that all may change": i.bin} {
		chmod(t, open, 0o777)
		log, path, code := i.run()
		if code == 0 || path != "" || !strings.Contains(log, "can be changed by all users; give the input kstep-path") {
			t.Errorf("%s: exit status %d, path %q\n%s", name, code, path, log)
		}
		chmod(t, open, 0o755)
	}
}
