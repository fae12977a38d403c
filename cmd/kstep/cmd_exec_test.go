package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestServerExec_TakesALineForTheShell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for line, want := range map[string]string{
		"echo a  b":                 "a b",
		"echo one; echo two >&2":    "two",
		"echo 'it''s' | tr a-z A-Z": "ITS",
	} {
		code, stdout, stderr := w.kstep("server", "exec", line)
		if code != 0 || strings.Count(stdout, want) != 3 {
			t.Errorf("%s: exit status %d, got %q %q, want %q of each host", line, code, stdout, stderr, want)
		}
	}
	code, _, stderr := w.kstep("server", "exec", "no-such-program here")
	if code == 0 || !strings.Contains(stderr, "no-such-program") {
		t.Errorf("exit status %d: %s", code, stderr)
	}
}

func TestDeploy_WithAssetsOnHostsWithACsh(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("tcsh")
	if err != nil {
		t.Fatal("this test deploys to users with tcsh: apt-get install tcsh")
	}
	w := newWorld(t).withAssets()
	for _, fake := range w.hosts {
		fake.Set(hosttest.Mood{LoginShell: shell})
	}
	w.append("assets: {/app/assets: {on_conflict: new}}\n")
	w.deploy("v1")
	w.deploy("v2")
	w.sees("/app/assets/manifest.json", map[string]string{"v1": "v2", "v2": "v2"})
	w.sees("/app/assets/app-v1.css", map[string]string{"v1": "v1", "v2": "v1"})
}
