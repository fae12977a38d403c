package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// documents decodes what a command prints.
func documents(t *testing.T, command, stdout string) (all []map[string]any) {
	t.Helper()
	for from := json.NewDecoder(strings.NewReader(stdout)); ; {
		var one map[string]any
		err := from.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s prints no JSON objects: %v\n%s", command, err, stdout)
		}
		all = append(all, one)
	}
}

func TestAnswers_AreOneDocumentEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	image := w.image("v2")
	for _, c := range []struct{ command, key string }{
		{"status", "targets"},
		{"plan --image " + image + " --version v2", "changes"},
		{"prune --dry-run", "changes"},
		{"preflight", "checks"},
		{"doctor --image " + image + " --version v2", "checks"},
		{"releases", "releases"},
		{"audit", "entries"},
		{"lock status", "held"},
		{"app details", "containers"},
		{"app containers", "containers"},
		{"app stale-containers", "containers"},
		{"app images", "images"},
		{"app version", "versions"},
		{"proxy details", "proxies"},
		{"secrets list", "secrets"},
		{"matrix", "include"},
		{"state show", "files"},
		{"version", "version"},
	} {
		stdout, _ := w.exits(exit.OK, append(strings.Fields(c.command), "--output", "json")...)
		if all := documents(t, c.command, stdout); len(all) != 1 {
			t.Errorf("%s prints %d documents:\n%s", c.command, len(all), stdout)
		} else if _, has := all[0][c.key]; !has {
			t.Errorf("%s prints nothing called %q:\n%s", c.command, c.key, stdout)
		}
	}
}

func TestAnswers_ThatFailLeaveStdoutToTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.hosts["vm2"].Engine.SetDown(true)
	stdout, stderr := w.exits(exit.Unreachable, "status", "--output", "json")
	if all := documents(t, "status", stdout); len(all) != 1 {
		t.Errorf("status prints %d documents:\n%s", len(all), stdout)
	}
	if !strings.Contains(stderr, "vm2") {
		t.Errorf("stderr does not tell what is wrong:\n%s", stderr)
	}
}
