package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// bare takes the engines of hosts away until the bootstrap script of this world
// has run there. installed reports whether it has.
func (w *world) bare(script string, hosts ...string) (installed func(hostName string) bool) {
	w.t.Helper()
	w.write("install.sh", "set -eu\necho installed >>installed\n"+script+"\n")
	for _, name := range hosts {
		w.hosts[name].Engine.SetDown(true)
	}
	w.on = func(op host.Op) {
		if op.Kind == host.KindRun && op.Name == "sh" {
			w.hosts[op.Host].Engine.SetDown(false)
		}
	}
	return func(hostName string) bool {
		_, err := os.Stat(filepath.Join(w.hosts[hostName].Home, "installed"))
		return err == nil
	}
}

func TestServerBootstrap_InstallsAnEngineOnlyWhereNoneAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("bootstrap: {script: install.sh}\n")
	installed := w.bare("", "vm2")
	log := w.logged(" $KSTEP_COMMAND $KSTEP_SUBCOMMAND $KSTEP_HOSTS", "docker-setup")
	_, stderr := w.exits(exit.OK, "server", "bootstrap")
	for name, want := range map[string]bool{"vm1": false, "vm2": true, "vm3": false} {
		if installed(name) != want {
			t.Errorf("%s: the script ran: %v, want %v", name, installed(name), want)
		}
	}
	for _, want := range []string{"installed and started the engine", "answers (API 1."} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it does not tell %q:\n%s", want, stderr)
		}
	}
	_, stderr = w.exits(exit.OK, "server", "bootstrap")
	if strings.Contains(stderr, "installed and started") || !strings.Contains(stderr, "unchanged") {
		t.Errorf("run again it does not say unchanged:\n%s", stderr)
	}
	if got := strings.Join(log(), "|"); got != "docker-setup server bootstrap vm1,vm2,vm3|docker-setup server bootstrap vm1,vm2,vm3" {
		t.Errorf("the hook was told %q, want it each time", got)
	}
}

func TestServerBootstrap_TellsWhyAHostCannotBeMadeReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("bootstrap: {script: install.sh}\n")
	w.bare("echo the mirror is gone >&2\nexit 3", "vm2", "vm3")
	log := w.logged("", "docker-setup")
	_, stderr := w.exits(exit.Failed, "server", "bootstrap")
	for _, want := range []string{"run sh on vm2: exit status 3: the mirror is gone", "run sh on vm3: exit status 3", "bootstrap.script"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it does not tell %q:\n%s", want, stderr)
		}
	}
	if got := log(); len(got) != 1 || got[0] != "" {
		t.Errorf("the hook ran: %q", got)
	}
	w.configure("bootstrap: {script: nowhere.sh}\n")
	if _, stderr := w.exits(exit.Config, "server", "bootstrap"); !strings.Contains(stderr, "bootstrap.script: open") {
		t.Errorf("it does not name the missing script:\n%s", stderr)
	}
}

func TestSetup_TakesBareHostsToAVersionThatServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("bootstrap: {script: install.sh}\nenv: {secret: [TOKEN]}\n")
	w.env["TOKEN"] = "s3cr3t"
	installed := w.bare("", "vm1", "vm2", "vm3")
	log := w.logged("", "docker-setup")
	var first sync.Once
	mark := w.on
	w.on = func(op host.Op) {
		mark(op)
		if op.Kind == host.KindEngine && strings.HasPrefix(op.Name, "POST /containers/create") {
			first.Do(func() {
				if got := log(); got[0] != "docker-setup" {
					t.Errorf("the first container was made before the hook docker-setup ran: %q", got)
				}
			})
		}
	}
	w.exits(exit.OK, "setup", "--image", w.image("v1"), "--version", "v1")
	w.serves("v1")
	for name := range w.hosts {
		if !installed(name) {
			t.Errorf("%s was not made ready", name)
		}
	}
	if w.envOf("vm3", "shop", "job")["TOKEN"] != "s3cr3t" {
		t.Error("the environment is not on vm3")
	}
	_, stderr := w.exits(exit.OK, "setup", "--image", w.image("v1"), "--version", "v1")
	if strings.Contains(stderr, "installed and started") {
		t.Errorf("run again it installs again:\n%s", stderr)
	}
	w.serves("v1")
}

func TestServerExec_ShowsWhatEachHostPrintsAndFailsWhenOneFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {secret: [TOKEN]}\n")
	w.env["TOKEN"] = "hush-hush"
	script := `pwd; echo "two  blanks: $1" >&2; printf hush-hush`
	stdout, _ := w.exits(exit.OK, "server", "exec", "--", "sh", "-c", script, "sh", "it's; $HOME")
	for name, fake := range w.hosts {
		label := "[" + name + "] "
		var got []string // In any order: lines of both streams come as they are written.
		for line := range strings.Lines(stdout) {
			if text, own := strings.CutPrefix(line, label); own {
				got = append(got, text)
			}
		}
		slices.Sort(got)
		want := []string{fake.Home + "\n", "two  blanks: it's; $HOME\n", "[REDACTED]\n"}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s printed %q, want %q, in\n%s", name, got, want, stdout)
		}
	}
	if err := os.WriteFile(filepath.Join(w.hosts["vm2"].Home, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr := w.exits(exit.Failed, "server", "exec", "--", "sh", "-c", "echo looked; test ! -e broken")
	if strings.Count(stdout, "looked") != 3 || !strings.Contains(stderr, "run sh on vm2: exit status 1") || strings.Contains(stderr, "on vm1: exit") {
		t.Errorf("got\n%sand\n%swant three answers and one failure", stdout, stderr)
	}
	stdout, _ = w.exits(exit.OK, "server", "exec", "--hosts", "vm3", "--output", "json", "--", "echo", "hello")
	if !strings.Contains(stdout, `{"host":"vm3","status":0,"output":"hello\n"}`) || strings.Contains(stdout, "vm1") {
		t.Errorf("got %s", stdout)
	}
	w.exits(exit.Usage, "server", "exec")
}

// TestServerExec_ShowsLinesWhileTheProgramRuns: of a program that waits for a file,
// what it printed before is seen.
func TestServerExec_ShowsLinesWhileTheProgramRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.follow("server", "exec", "echo began; until test -e go-on; do sleep 0.02; done; echo ended")
	for name := range w.hosts {
		f.shows("[" + name + "] began")
		break
	}
	for _, fake := range w.hosts {
		if err := os.WriteFile(filepath.Join(fake.Home, "go-on"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.shows("ended")
	if code := <-f.code; code != exit.OK {
		t.Errorf("got exit code %d, want 0", code)
	}
}
