package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// containersOf are a host's, by name.
func (w *world) containersOf(host string) map[string]engine.Container {
	w.t.Helper()
	found := map[string]engine.Container{}
	for _, c := range w.containers(host) {
		found[c.Name] = c
	}
	return found
}

func TestRollback_StartsTheRetainedContainersAgainAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra + "env: {clear: {LEVEL: old}, secret: [TOKEN]}\n")
			w.env["TOKEN"] = "one"
			w.deploy("v1")
			before := w.containersOf("vm1")["shop-web-v1"].ID
			w.configure(extra + "env: {clear: {LEVEL: new}, secret: [TOKEN]}\n")
			_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
			if !strings.Contains(stderr, "a rollback to v1 is ready on 3 of 3 hosts") {
				t.Errorf("the end of a deploy does not tell of the way back:\n%s", stderr)
			}
			delete(w.env, "TOKEN") // Whoever goes back needs no secret,
			w.registry.Close()     // and no registry.
			w.forget()
			w.exits(exit.OK, "rollback")
			w.serves("v1")
			if now := w.containersOf("vm1")["shop-web-v1"].ID; now != before {
				t.Error("the container was made anew")
			}
			w.exits(exit.OK, "rollback") // To what served before this.
			w.serves("v2")
			w.exits(exit.OK, "rollback", "v1")
			w.serves("v1")
		})
	}
}

func TestRollback_FreshMakesContainersWithTheConfigurationOfNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	before := w.containersOf("vm1")["shop-web-v1"].ID
	w.deploy("v2")
	w.replicas("env: {clear: {LEVEL: new}}\n", "2")
	w.exits(exit.OK, "rollback", "--fresh")
	w.serves("v1")
	w.works("vm1", "shop-web-v1", "shop-web.2-v1")
	if now := w.containersOf("vm1")["shop-web-v1"]; now.ID == before || now.ID == "" {
		t.Errorf("the container is the old one")
	}
}

func TestRollback_RefusesWhatIsNotReadyAndTellsWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stderr := w.exits(exit.Failed, "rollback")
	if !strings.Contains(stderr, "no earlier version is ready") {
		t.Errorf("before the first deploy:\n%s", stderr)
	}
	for _, version := range []string{"v1", "v2", "v3"} {
		w.deploy(version)
	}
	look := w.hosts["vm2"].Look()
	defer look.CloseIdle()
	if err := look.Remove(t.Context(), w.containersOf("vm2")["shop-web-v2"].ID); err != nil {
		t.Fatal(err)
	}
	_, stderr = w.exits(exit.Failed, "rollback", "v2")
	for _, want := range []string{"web@vm2: its container was removed", "kstep rollback v1", "--fresh"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
	if _, stderr = w.exits(exit.Failed, "rollback", "v7"); !strings.Contains(stderr, "no host knows version v7") {
		t.Errorf("a version that never was:\n%s", stderr)
	}
	w.serves("v3")
	stdout, _ := w.exits(exit.OK, "releases")
	t.Log("\n" + stdout)
	for _, want := range []string{"2 of 3: web@vm2: its container was removed", "ready", "3 of 3"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	w.exits(exit.OK, "rollback") // Past the one that is not ready.
	w.serves("v1")
}

func TestPrune_GivesNoPlaceToReleasesThatNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("retain: 2\n")
	w.deploy("v1")
	for _, broken := range []string{"v2", "v3"} {
		w.behave(broken, hosttest.Behaviour{Exit: new(1)})
		w.exits(exit.BarrierClosed, "deploy", "--image", w.image(broken), "--version", broken)
	}
	w.deploy("v4")
	for name := range w.containersOf("vm1") {
		if name == "shop-web-v2" || name == "shop-web-v3" {
			t.Errorf("%s of a release that failed is still there", name)
		}
	}
	w.exits(exit.OK, "rollback")
	w.serves("v1")
}
