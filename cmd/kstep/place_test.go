package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/stages"
)

// homes moves the SSH login on every fake host to another user's home.
func (w *world) homes(user string) {
	w.t.Helper()
	for _, fake := range w.hosts {
		home := filepath.Join(fake.Root, "home", user)
		if err := os.MkdirAll(home, 0o755); err != nil {
			w.t.Fatal(err)
		}
		fake.LogInTo(home)
	}
}

// unlabel makes containers look as an older kstep made them.
func (w *world) unlabel(label string) {
	for _, fake := range w.hosts {
		fake.Engine.DropLabel(label)
	}
}

func TestPlace_AnotherSSHUserIsRefusedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct{ label, extra string }{
		"labelled":                  {"", ""},
		"of a version before":       {"kstep.run", ""},
		"of a version before, cord": {"kstep.run", "proxy: {switch: cord}\n"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(c.extra)
			w.deploy("v1")
			if c.label != "" {
				w.unlabel(c.label)
			}
			w.homes("deploy")
			image := w.image("v2")
			for _, args := range [][]string{
				{"deploy", "--image", image, "--version", "v2"},
				{"plan", "--image", image, "--version", "v2"},
				{"rollback"}, {"redeploy", "--image", image, "--version", "v2"}, {"abort"},
				{"status"}, {"releases"}, {"app", "stop"}, {"app", "containers"}, {"env", "push"}, {"lock", "status"},
				{"lock", "acquire", "-m", "x"}, {"remove", "--yes"}, {"audit"}, {"proxy", "reboot"}, {"proxy", "boot"},
			} {

				_, stderr := w.exits(exit.Config, args...)
				if !strings.Contains(stderr, "/root/.kstep/shop, not in ") || !strings.Contains(stderr, "hint: to move it") {
					t.Errorf("%v: got\n%s", args, stderr)
				}
			}
			for name, fake := range w.hosts {
				if _, err := os.Stat(filepath.Join(fake.Home, ".kstep")); err == nil {
					t.Errorf("%s has a second run directory", name)
				}
			}
			w.serves("v1")
			stdout, _ := w.exits(exit.Config, "status")
			if !strings.Contains(stdout, "kept in ") || strings.Contains(stdout, "nothing") || !strings.Contains(stdout, "lease: unknown") {
				t.Errorf("got\n%s\nwant it to say where the service is", stdout)
			}
		})
	}
}

func TestPlace_AMovedRunDirectoryGoesOn(t *testing.T) {
	t.Parallel()
	for kind, extra := range map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.homes("deploy")
			for name, fake := range w.hosts {
				from, to := filepath.Join(fake.Root, "root", ".kstep"), filepath.Join(fake.Home, ".kstep")
				if out, err := exec.Command("sh", "-c", stages.Moving(from, to, "")).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, out)
				}
			}
			w.deploy("v2")
			w.serves("v2")
			w.exits(exit.OK, "rollback")
			w.serves("v1")
			w.deploy("v3")
			w.serves("v3")
		})
	}
}

func TestPlace_AProxyThatWatchesAnotherFolderIsRefusedBeforeBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("service: shop", "service: blog")
	if err := os.RemoveAll(filepath.Join(w.dir, "kstep-state")); err != nil {
		t.Fatal(err)
	}
	w.homes("bob")
	image := w.image("v2")
	_, stderr := w.exits(exit.Config, "deploy", "--image", image, "--version", "v2")
	for _, want := range []string{"the proxy on vm1 watches ", "routes of shop", "run_directory: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("got\n%s\nwant %q", stderr, want)
		}
	}
	_, stderr = w.exits(exit.Config, "proxy", "reboot")
	if !strings.Contains(stderr, "routes of shop") {
		t.Errorf("got\n%s", stderr)
	}
	w.serves("v1")
	for name := range w.hosts {
		for container := range w.containersOf(name) {
			if strings.HasPrefix(container, "blog") {
				t.Errorf("%s has %s", name, container)
			}
		}
	}
}
