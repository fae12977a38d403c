package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// publishes has the web role's next containers publish a port that is taken on
// some hosts, so that their engines refuse to start them.
func (w *world) publishes(port int, takenOn ...string) {
	w.t.Helper()
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    options: {publish: \"9000:3000\"}\n")
	for _, name := range takenOn {
		w.hosts[name].Engine.TakePort(port)
	}
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
			w.publishes(9000, "vm1", "vm2")
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
			w.replace("    options: {publish: \"9000:3000\"}\n", "")
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
		})
	}
}

func TestBoot_ThatCannotStartOnOneHostTellsTheWaysOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.publishes(9000, "vm1")
	_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
	if !strings.Contains(stderr, "kstep abort") {
		t.Errorf("it does not name abort:\n%s", stderr)
	}
	w.serves("v1")
	w.exits(exit.OK, "abort")
	if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v1"}) {
		t.Errorf("%q run on vm3, want the old worker alone", got)
	}
	w.serves("v1")
}
