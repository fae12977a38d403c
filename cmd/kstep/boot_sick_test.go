package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// mounts has the web role's next containers mount a folder that is on no host, so
// that the engines refuse to make them.
func (w *world) mounts() {
	w.t.Helper()
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    volumes: [\"/srv/kstep-is-not-here:/data\"]\n")
}

func TestBoot_ThatCannotStartThePrimaryRoleClosesTheBarrier(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*world) string{
		"in one process": func(w *world) string {
			_, stderr := w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
			return stderr
		},
		"in jobs": func(w *world) string {
			w.stages("v2", "assets", "env-push")
			_, stderr := w.exits(exit.BarrierClosed, "boot")
			return stderr
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.mounts()
			stderr := run(w)
			for _, want := range []string{"barrier closed: web@vm1: ", "web@vm2: ", "the old version keeps serving", "run the same command again"} {
				if !strings.Contains(stderr, want) {
					t.Errorf("the output lacks %q:\n%s", want, stderr)
				}
			}
			if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v1"}) {
				t.Errorf("%q run on vm3, want the old worker alone", got)
			}
			w.serves("v1")
			w.free()
			w.replace("    volumes: [\"/srv/kstep-is-not-here:/data\"]\n", "")
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
		})
	}
}
