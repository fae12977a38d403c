package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// importKamal runs `kstep import kamal` with a small configuration in a folder.
func importKamal(t *testing.T, dir string, args ...string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	files := map[string]string{
		"config/deploy.yml":         "service: shop\nimage: acme/shop\nservers: [192.0.2.1]\nbuilder: {arch: amd64}\nregistry: {username: acme, password: [TOKEN]}\nproxy: {ssl: false, host: shop.example.com}\nminimum_version: 2.3.0\n",
		"config/deploy.staging.yml": "servers: [192.0.2.9]\n",
		".kamal/hooks/pre-build":    "#!/bin/sh\necho $KAMAL_VERSION\n",
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, errOut bytes.Buffer
	p := &program{env: func(string) (string, bool) { return "", false }, stdout: &out, stderr: &errOut}
	args = append([]string{"import", "kamal", filepath.Join(dir, "config/deploy.yml"), "--out", dir}, args...)
	code = p.run(t.Context(), args)
	return out.String(), errOut.String(), code
}

func TestImportKamal_WritesFilesAndReports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, code := importKamal(t, dir)
	if code != exit.OK {
		t.Fatalf("got exit code %d, want 0: %s", code, stderr)
	}
	for _, want := range []string{"wrote kstep.yml\n", "wrote kstep.staging.yml\n", "wrote .kstep/hooks/pre-build\n", "Not importable: nothing\n", "config/deploy.yml:7: minimum_version: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got no %q in\n%s", want, stdout)
		}
	}
	before := readText(t, filepath.Join(dir, "kstep.yml"))
	if _, stderr, code = importKamal(t, dir); code != exit.Config || !strings.Contains(stderr, "kstep.yml") || !strings.Contains(stderr, "--out") {
		t.Errorf("a second import: got exit code %d, want %d: %s", code, exit.Config, stderr)
	}
	if readText(t, filepath.Join(dir, "kstep.yml")) != before {
		t.Error("the second import changed kstep.yml")
	}
}

func TestImportKamal_TakesDestinationsAndFormats(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := importKamal(t, t.TempDir(), "--format", "json", "-d", "staging")
	var report struct {
		Files   []string
		Dropped []struct {
			Kind, Key, File, Text string
			Line                  int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != exit.OK {
		t.Fatalf("got exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if len(report.Files) != 3 || len(report.Dropped) != 1 || report.Dropped[0].Key != "minimum_version" || report.Dropped[0].Line != 7 {
		t.Errorf("got %+v", report)
	}
	if stdout, _, _ = importKamal(t, t.TempDir(), "--format", "markdown"); !strings.HasPrefix(stdout, "# Import from Kamal\n") || !strings.Contains(stdout, "| `minimum_version` |") {
		t.Errorf("got\n%s", stdout)
	}
	if _, stderr, code = importKamal(t, t.TempDir(), "-d", "production"); code != exit.Config || !strings.Contains(stderr, "deploy.production.yml") {
		t.Errorf("a destination without a file: got exit code %d: %s", code, stderr)
	}
}
