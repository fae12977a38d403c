package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func initIn(t *testing.T, dir string, args ...string) (exit.Code, string, string) {
	t.Helper()
	var stdout, stderr strings.Builder
	p := &program{env: func(string) (string, bool) { return "", false }, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr}
	code := p.run(t.Context(), append([]string{"-c", filepath.Join(dir, "kstep.yml")}, args...))
	return code, stdout.String(), stderr.String()
}

func TestInit_TakesFlagsWithoutATerminalAndRefusesASecondTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"init", "--host", "203.0.113.7,203.0.113.8", "--host", "203.0.113.9", "--service", "shop", "--image", "ghcr.io/acme/shop", "--domain", "shop.example.com"}
	code, out, errOut := initIn(t, dir, args...)
	if code != exit.OK || !strings.Contains(out, "created kstep.yml") || !strings.Contains(out, "kstep init --dockerfile") || strings.Contains(out, "replace") {
		t.Fatalf("got %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut := initIn(t, dir, "config", "validate"); code != exit.OK {
		t.Errorf("config validate: got %d\n%s%s", code, out, errOut)
	}
	code, out, errOut = initIn(t, dir, args...)
	if code != exit.Config || !strings.Contains(errOut, "kstep.yml exists") || out != "" {
		t.Errorf("got %d\n%s%s", code, out, errOut)
	}
	if code, _, errOut := initIn(t, t.TempDir(), "init", "--framework", "cobol"); code != exit.Usage {
		t.Errorf("got %d\n%s", code, errOut)
	}
}
