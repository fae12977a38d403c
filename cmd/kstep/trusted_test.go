package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestRunDirectory_OfAnotherUserIsRefusedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	run := func(f *hosttest.Fake) string { return filepath.Join(f.Home, ".kstep") }
	for name, c := range map[string]struct {
		prepare func(t *testing.T, f *hosttest.Fake)
		want    string
	}{
		"another user's folder":       {func(_ *testing.T, f *hosttest.Fake) { f.GiveTo(run(f), 4711, 4711) }, ".kstep on vm2 belongs to another user (ID 4711)"},
		"another user's key":          {func(_ *testing.T, f *hosttest.Fake) { f.GiveTo(run(f)+"/fingerprint.key", 4711, 0) }, "fingerprint.key on vm2 belongs to another user"},
		"a key that all may write":    {func(t *testing.T, f *hosttest.Fake) { chmod(t, run(f)+"/fingerprint.key", 0o666) }, "fingerprint.key on vm2 is writable for all users (mode 0666)"},
		"a folder that all may write": {func(t *testing.T, f *hosttest.Fake) { chmod(t, run(f), 0o777) }, ".kstep on vm2 is writable for all users"},
		"cords that are a link":       {func(t *testing.T, f *hosttest.Fake) { instead(t, run(f)+"/shop/cords", f.Home) }, "cords on vm2 is a symbolic link"},
		"a log that is a link":        {func(t *testing.T, f *hosttest.Fake) { instead(t, run(f)+"/shop/audit.jsonl", f.Home+"/victim") }, "audit.jsonl on vm2 is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("")
			w.deploy("v1")
			fake := w.hosts["vm2"]
			if err := os.WriteFile(filepath.Join(fake.Home, "victim"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.prepare(t, fake)
			image := w.image("v2")
			for _, args := range [][]string{
				{"deploy", "--image", image, "--version", "v2"}, {"plan", "--image", image, "--version", "v2"},
				{"rollback"}, {"env", "push"}, {"remove", "--yes"}, {"proxy", "reboot"},
			} {
				w.operations()
				_, stderr := w.exits(exit.Config, args...)
				if !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "hint: ") {
					t.Errorf("%v: got\n%s\nwant %q", args, stderr, c.want)
				}
				for _, op := range w.operations() {
					if op.Kind == "sftp" && (op.Name == "write" || op.Name == "append" || op.Name == "create" || op.Name == "remove" || op.Name == "mkdir") ||
						op.Kind == "engine" && !strings.HasPrefix(op.Name, "GET ") && !strings.HasPrefix(op.Name, "HEAD ") {
						t.Errorf("%v: %s %s %s on %s", args, op.Kind, op.Name, op.Path, op.Host)
					}
				}
			}
			if data, err := os.ReadFile(filepath.Join(fake.Home, "victim")); err != nil || string(data) != "mine" {
				t.Errorf("the file of another user is now %q, %v", data, err)
			}
			w.serves("v1")
		})
	}
}

func TestRunDirectory_OfTheUserOrRootOrItsGroupIsUsed(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, f *hosttest.Fake){
		"a user that is not root, in root's folder": func(_ *testing.T, f *hosttest.Fake) { f.ActAs(1000, 1000, 999) },
		"a folder of the user's group": func(t *testing.T, f *hosttest.Fake) {
			run := filepath.Join(f.Home, ".kstep")
			chmod(t, run, 0o775|os.ModeSetgid)
			f.ActAs(1000, 1000, 999)
			f.GiveTo(run, 0, 999)
			f.GiveTo(run+"/proxy", 1001, 999)
		},
		"no /proc": func(_ *testing.T, f *hosttest.Fake) { f.HideStatus() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("")
			w.deploy("v1")
			for _, fake := range w.hosts {
				prepare(t, fake)
			}
			w.deploy("v2")
			w.serves("v2")
		})
	}
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// instead puts a link in the place of a file or folder.
func instead(t *testing.T, file, to string) {
	t.Helper()
	if err := os.Rename(file, file+".before"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(to, file); err != nil {
		t.Fatal(err)
	}
}
