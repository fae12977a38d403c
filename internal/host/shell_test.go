package host_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// loginShells are those that users have. Each has its own syntax.
func loginShells(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"bash", "dash", "tcsh", "fish"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("this test runs commands by other shells: apt-get install bash dash tcsh fish (%v)", err)
		}
		found[name] = path
	}
	return found
}

// startFiles print something in the home folder's start files of all shells.
func startFiles(t *testing.T, fake *hosttest.Fake, text string) {
	t.Helper()
	for _, name := range []string{".bashrc", ".cshrc", ".config/fish/config.fish"} {
		file := filepath.Join(fake.Home, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRun_DoesNotDependOnTheLoginShell(t *testing.T) {
	t.Parallel()
	for name, path := range loginShells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			fake.Set(hosttest.Mood{LoginShell: path})
			hosttest.SuiteCommands(t, fake.Connect(t))
		})
	}
}

func TestRun_LeavesOutWhatStartFilesPrint(t *testing.T) {
	t.Parallel()
	for name, path := range loginShells(t) {
		if name == "dash" {
			continue // It has no start file for commands.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			h := fake.Connect(t)
			if _, err := h.Files().Home(t.Context()); err != nil {
				t.Fatal(err)
			}
			fake.Set(hosttest.Mood{LoginShell: path})
			startFiles(t, fake, "echo Welcome to vm1\nprintf 'no line break'\n")
			for _, argv := range [][]string{{"echo", "plain"}, {"printf", "%s\n", "plain"}} {
				out, err := h.Run(t.Context(), argv, []byte("not for it"))
				if err != nil || string(out) != "plain\n" {
					t.Errorf("%q: got %q, %v", argv, out, err)
				}
			}
			fake.Sever()
			_, err := h.Files().Stat(t.Context(), ".")
			wantError(t, err, exit.Unreachable, "open SFTP on vm1", "a start file of the login shell prints", ".bashrc", "case $- in", "internal-sftp")
		})
	}
}

func TestSFTP_NamesWhatStartFilesPrint(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{LoginShell: loginShells(t)["bash"]})
	startFiles(t, fake, "echo Welcome to vm1\n")
	_, err := fake.Connect(t).Files().Home(t.Context())
	wantError(t, err, exit.Unreachable, `prints "Welcome to vm1" before the server answers`)
}

func TestRun_LoginShellThatRunsNothingIsNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, part string }{
		"a status of its own": {"#!/bin/sh\necho This account is currently not available.\nexit 1\n", "currently not available"},
		"a menu":              {"#!/bin/sh\necho Choose: 1 2 3\n", "ended without running it, and printed: Choose: 1 2 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			shell := filepath.Join(t.TempDir(), "shell")
			if err := os.WriteFile(shell, []byte(test.script), 0o755); err != nil { //nolint:gosec // It is a program.
				t.Fatal(err)
			}
			h := fake.Connect(t)
			fake.Set(hosttest.Mood{LoginShell: shell})
			_, err := h.Run(t.Context(), []string{"id", "-u"}, nil)
			if err == nil || !strings.Contains(err.Error(), test.part) {
				t.Errorf("got %v, want %q", err, test.part)
			}
		})
	}
}

func TestEngine_StdioConnectionSkipsWhatStartFilesPrint(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	opts.EngineTransport = host.EngineStdio
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine().Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
