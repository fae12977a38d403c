package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

const device = "/dev/kstep-is-not-here"

// needsDevice has a role's next containers need a device, so that engines without
// it refuse to start them.
func (w *world) needsDevice(role string) {
	w.t.Helper()
	if role == "job" {
		w.replace("    hosts: [vm3]\n", "    hosts: [vm3]\n    options: {device: "+device+"}\n")
		return
	}
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    options: {device: "+device+"}\n")
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
			w.needsDevice("web")
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
			w.hosts["vm1"].Engine.AddDevice(device)
			w.hosts["vm2"].Engine.AddDevice(device)
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
		})
	}
}

// With a quorum of 1, the host that can start the new version takes it, and the
// one that cannot keeps the old one, until it can.
func TestBoot_ThatCannotStartOnOneHostLeavesTheBarrierToDecide(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*world) string{
		"in one process": func(w *world) string {
			_, stderr := w.exits(exit.Partial, w.deployArgs("v2")...)
			return stderr
		},
		"in jobs": func(w *world) string {
			w.stages("v2", "assets", "env-push", "boot")
			_, stderr := w.exits(exit.Failed, "barrier-wait")
			w.exits(exit.Partial, "cutover", "--resume")
			return stderr
		},
		"in jobs by host": func(w *world) string {
			w.stages("v2", "assets", "env-push")
			for _, host := range []string{"vm1", "vm2", "vm3"} {
				w.exits(exit.OK, "boot", "--hosts", host)
			}
			_, stderr := w.exits(exit.Failed, "barrier-wait")
			w.exits(exit.Partial, "cutover", "--resume")
			return stderr
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.needsDevice("web")
			w.hosts["vm2"].Engine.AddDevice(device)
			stderr := run(w)
			for _, want := range []string{"it cannot start: ", device, "the rest keeps the old version"} {
				if !strings.Contains(stderr, want) {
					t.Errorf("the output lacks %q:\n%s", want, stderr)
				}
			}
			for host, version := range map[string]string{"vm1": "v1", "vm2": "v2"} {
				if _, got := w.get(host); got != "version "+version+"\n" {
					t.Errorf("%s answers %q, want %s", host, got, version)
				}
			}
			if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v2"}) {
				t.Errorf("%q run on vm3, want the new worker alone", got)
			}
			w.hosts["vm1"].Engine.AddDevice(device)
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
			w.free()
		})
	}
}

// A worker has no quorum: where it cannot start, the stage fails, and the ways out
// are named.
func TestBoot_ThatCannotMakeAWorkerFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.needsDevice("job")
	w.replace("    hosts: [vm3]\n", "    hosts: [vm3]\n    start: with-boot\n")
	_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
	for _, want := range []string{device, "run the same command again", "kstep abort"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the output lacks %q:\n%s", want, stderr)
		}
	}
	w.serves("v1")
	w.exits(exit.OK, "abort")
	w.serves("v1")
	w.free()
}
