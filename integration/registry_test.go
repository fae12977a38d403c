//go:build integration

package integration

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestRegistry_LoginGoesWithEachPullAndStaysOnNoHost(t *testing.T) {
	t.Parallel()
	s := settings{}
	v := s.version("v1", "")
	v.Files["kstep.yml"] = s.auth(rig.AuthRegistry)
	w := beginWith(t, v)
	right, wrong := []string{"RIG_PASSWORD=" + rig.RegistryPassword}, []string{"RIG_PASSWORD=not-the-password"}
	w.with(right, "build")
	w.with(right, "push")

	r := w.kstepWith(wrong, "assets")
	t.Logf("kstep assets\n%s", r.Stderr)
	if r.Exit != 31 || !strings.Contains(r.Stderr, "vm1") || !strings.Contains(r.Stderr, "RIG_PASSWORD") {
		t.Errorf("a wrong password at the pull: exit status %d, want 31 and the host's name", r.Exit)
	}
	w.readable(r, wrong)

	said := ""
	for _, stage := range allStages() {
		said += w.with(right, stage)
	}
	w.serves("v1")
	if strings.Contains(said, rig.RegistryPassword) {
		t.Error("the output gives the password away")
	}
	for _, h := range w.rig.Hosts {
		found, err := h.Exec(t.Context(), "find", "/root", "/home", "-name", "config.json", "-path", "*.docker*")
		if err != nil || found != "" {
			t.Errorf("%s: %v, the login is stored in %s", h.Name, err, found)
		}
	}
}

// with runs kstep with more environment, expects success, and returns what it
// said.
func (w *world) with(env []string, args ...string) string {
	w.t.Helper()
	r := w.kstepWith(env, args...)
	if r.Exit != 0 {
		w.t.Fatalf("kstep %s: exit status %d\n%s", strings.Join(args, " "), r.Exit, r.Stderr)
	}
	return r.Stdout + r.Stderr
}

func TestProxy_WhosePortIsTakenNamesIt(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	squatter := []string{"docker", "run", "-d", "--name", "squatter", "-p", "80:80", rig.TraefikImage}
	if _, err := w.rig.Host("vm2").Exec(t.Context(), squatter...); err != nil {
		t.Fatal(err)
	}
	r := w.exits(10, "deploy")
	_, err := os.Stat(filepath.Join(w.app.Dir, "kstep-state", "push.json"))
	if !strings.Contains(r.Stderr, "port 80 on vm2") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deploy does not find it before it pushes:\n%s", r.Stderr)
	}
	for _, stage := range []string{"build", "push", "assets", "env-push"} {
		w.must(stage)
	}
	r = w.exits(10, "boot")
	t.Logf("kstep boot\n%s", r.Stderr)
	for _, want := range []string{"vm2", "port 80", "proxy.publish"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the message does not say %q", want)
		}
	}
	w.readable(r, nil)
}
