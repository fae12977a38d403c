package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

const leftVM2 = "host vm2 is no longer configured"

func TestLeftHosts_AreWarnedOfUntilTheServiceIsRemovedThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("web: [vm1, vm2]", "web: [vm1]")
	w.prints([]string{"plan", "--image", w.image("v2"), "--version", "v2"}, leftVM2)
	for _, version := range []string{"v2", "v3"} {
		_, stderr := w.exits(exit.OK, "deploy", "--image", w.image(version), "--version", version)
		if strings.Count(stderr, leftVM2) != 1 || !strings.Contains(stderr, "kstep remove --hosts vm2 --yes") {
			t.Errorf("the deploy of %s says\n%s\nwant one warning with the command", version, stderr)
		}
	}
	w.works("vm2", "shop-web-v1")
	w.prints([]string{"status"}, "kstep remove --hosts vm2 --yes")
	_, stderr := w.exits(exit.Usage, "remove", "--hosts", "vm2")
	if !strings.Contains(stderr, "from vm2") {
		t.Errorf("got\n%s", stderr)
	}
	w.exits(exit.OK, "remove", "--hosts", "vm2", "--yes")
	if all := w.containersOf("vm2"); len(all) != 1 { // The proxy stays.
		t.Errorf("vm2 still has %v", all)
	}
	w.isRouted("vm2")
	w.works("vm1", "shop-web-v3")
	w.unwarned("v4")
}

// unwarned deploys a version, and expects no warning about hosts.
func (w *world) unwarned(version string) {
	w.t.Helper()
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image(version), "--version", version)
	stdout, _ := w.exits(exit.OK, "status")
	if strings.Contains(stderr+stdout, "no longer configured") {
		w.t.Errorf("still warned:\n%s%s", stderr, stdout)
	}
}

func TestLeftHosts_OfMachinesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("web: [vm1, vm2]", "web: [vm1]")
	w.deploy("v2")
	w.replace("\n  config: [", "\n  connect_retries: 0\n  connect_timeout: 1s\n  config: [")
	mood := w.hosts["vm2"].Mood()
	mood.Deaf = true
	w.hosts["vm2"].Set(mood)
	_, stderr := w.exits(exit.Unreachable, "remove", "--hosts", "vm2", "--yes")
	if !strings.Contains(stderr, "kstep remove --hosts vm2 --forget") {
		t.Errorf("no way out in\n%s", stderr)
	}
	if _, stderr := w.exits(exit.Usage, "remove", "--hosts", "vm1", "--forget"); !strings.Contains(stderr, "vm1 is in kstep.yml") {
		t.Errorf("got\n%s", stderr)
	}
	w.exits(exit.OK, "remove", "--hosts", "vm2", "--forget")
	w.unwarned("v3")
}

func TestLeftHosts_AreNotWarnedOfWhenTheServiceWasRemovedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.exits(exit.OK, "remove", "--hosts", "vm2", "--yes")
	w.replace("web: [vm1, vm2]", "web: [vm1]")
	w.unwarned("v2")
}
