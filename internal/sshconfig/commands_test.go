package sshconfig

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestResolve_RunsNoCommandThatOthersMayHaveWritten(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"ProxyCommand": "Host vm1\n  ProxyCommand nc %h %p\n",
		"Match exec":   "Host *\nMatch exec yes\n  User a\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine(t)
			m.Run = func(context.Context, string) (bool, error) { t.Error("it was run"); return true, nil }
			file := write(t, filepath.Join(m.Home, ".ssh", "config"), text)
			if err := os.Chmod(file, 0o666); err != nil { //nolint:gosec // This is what is to be seen.
				t.Fatal(err)
			}
			_, err := New([]File{{Path: file, Private: true}}, m).Resolve(t.Context(), Destination{Host: "vm1"})
			wrong, ok := errors.AsType[*Error](err)
			if !ok || wrong.Line != 2 || !strings.Contains(err.Error(), name+" is not run") || !strings.Contains(wrong.Hint, "chmod go-w "+file) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestResolve_CanonicalNamesAreAnErrorWhereTheyWouldBeLookedUp(t *testing.T) {
	t.Parallel()
	text := "CanonicalizeHostname yes\nCanonicalDomains example.com\nHost gated\n  ProxyJump gate\nMatch canonical\n  User final\n"
	_, err := resolve(t, machine(t), text, Destination{Host: "vm1"})
	if err == nil || !strings.Contains(err.Error(), ":1: CanonicalizeHostname is not supported") {
		t.Errorf("got %v", err)
	}
	for _, host := range []string{"a.b.example.com", "192.0.2.1", "gated"} {
		got, err := resolve(t, machine(t), text, Destination{Host: host})
		if err != nil || got.User != "final" {
			t.Errorf("%s: got %v, %v", host, got, err)
		}
	}
}

func TestResolve_RunsACommandOfMatchOnceForManyHosts(t *testing.T) {
	t.Parallel()
	m, runs := machine(t), make(chan string, 100)
	m.Run = func(_ context.Context, line string) (bool, error) { runs <- line; return true, nil }
	file := write(t, filepath.Join(t.TempDir(), "config"), "Match exec vpn-is-up\n  User a\nMatch exec \"ask %h\"\n  Port 23\n")
	c := New([]File{{Path: file}}, m)
	done := make(chan error)
	for i := range 8 {
		go func() {
			_, err := c.Resolve(t.Context(), Destination{Host: "vm" + string(rune('1'+i%2))})
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if len(runs) != 3 {
		t.Errorf("%d commands were run, want 3", len(runs))
	}
}

func TestRun_EndsWithTheContextAndWithItsChildren(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := run(ctx, "/bin/sh", "sleep 60 & sleep 60"); !errors.Is(err, errStopped) {
		t.Errorf("got %v, want it stopped", err)
	}
	if _, err := run(t.Context(), "/nothing/sh", "true"); err == nil {
		t.Error("got no error of a shell that is not there")
	}
}

func TestAlgorithms_ApplyToTheDefault(t *testing.T) {
	t.Parallel()
	byDefault, all := []string{"a1", "a2", "b1"}, []string{"a1", "a2", "b1", "c1", "c2"}
	for list, want := range map[string]string{
		"c1,a2,zz": "c1 a2", "+c*": "a1 a2 b1 c1 c2", "-a*": "b1", "^c2,b1": "c2 b1 a1 a2", "zz": "", "+a1": "a1 a2 b1", "": "",
	} {
		if got := strings.Join(Algorithms(list, byDefault, all), " "); got != want {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}

func FuzzResolve_ReadsAnything(f *testing.F) {
	f.Add("Host vm1\n  User a\nMatch host=vm* !user b\nInclude x\n")
	f.Add("Host \"a\n=\nMatch all x\nProxyJump ,\nPort \"\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := machine(t)
		file := write(t, filepath.Join(t.TempDir(), "config"), text)
		got, err := New([]File{{Path: file}}, m).Resolve(t.Context(), Destination{Host: "vm1"})
		if err == nil && got.Port <= 0 {
			t.Errorf("got port %d", got.Port)
		}
	})
}
