package main

import (
	"path/filepath"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestStateFolder_OfADestinationIsItsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ destination, flag, want string }{
		{"", "", "kstep-state"},
		{"staging", "", "kstep-state/staging"},
		{"staging", "elsewhere", "elsewhere"},
		{"../other", "", "kstep-state"}, // Refused when the configuration is read.
	} {
		p := &program{global: globals{destination: c.destination, stateDir: c.flag}}
		if got := p.stateFolder(""); got != c.want {
			t.Errorf("destination %q, --state-dir %q: got %s, want %s", c.destination, c.flag, got, c.want)
		}
	}
}

// Files that a version of kstep before left in the common folder are gone on with.
func TestStateFolder_OfADestinationThatIsUnderWayStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("kstep.staging.yml", "proxy: {hosts: [staging.test]}\n")
	w.exits(exit.OK, "push", "-d", "staging", "--image", w.image("v1"), "--version", "v1")
	for destination, want := range map[string]string{"staging": "kstep-state", "qa": filepath.Join("kstep-state", "qa")} {
		p := &program{global: globals{destination: destination}}
		if got := p.stateFolder(w.dir); got != filepath.Join(w.dir, want) {
			t.Errorf("%s: got %s, want %s", destination, got, want)
		}
	}
}
