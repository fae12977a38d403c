package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestProxy_RebootKeepsTheRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	_, stderr := w.exits(exit.OK, "proxy", "boot")
	if !strings.Contains(stderr, "kstep-proxy runs") {
		t.Errorf("a proxy that runs is not left alone:\n%s", stderr)
	}
	w.configure("proxy: {args: {accesslog: 'true'}}\n")
	w.exits(exit.Failed, "proxy", "boot")
	w.exits(exit.OK, "proxy", "reboot", "--rolling")
	w.exits(exit.OK, "proxy", "boot")
	w.serves("v1")
}

func TestProxy_IsStoppedStartedShownAndRemovedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuses(exit.Failed, "there is no kstep-proxy on vm1", "proxy", "start")
	w.deploy("v1")
	w.says("as configured", "proxy", "details")
	w.says("stopped kstep-proxy", "proxy", "stop", "--hosts", "vm1")
	w.says("kstep-proxy does not run", "proxy", "stop", "--hosts", "vm1")
	if status, _ := w.get("vm1"); status != 0 {
		t.Errorf("it still answers %d", status)
	}
	w.says("vm1   traefik:v3.6  exited", "proxy", "details")
	w.says("started kstep-proxy", "proxy", "start")
	w.serves("v1")
	w.says("stopped kstep-proxy", "proxy", "restart")
	w.serves("v1")

	w.refuses(exit.Usage, "nothing was removed: this would remove kstep-proxy of vm1, vm2, for all services there", "proxy", "remove")
	w.serves("v1")
	w.says("removed kstep-proxy", "proxy", "remove", "--yes")
	w.says("there is no kstep-proxy", "proxy", "remove", "--yes")
	w.says("vm2   -      nothing", "proxy", "details")
	w.exits(exit.OK, "proxy", "boot")
	w.serves("v1") // The routes stayed.
	w.refuses(exit.Usage, "no proxied role", "proxy", "logs", "--roles", "job")
}

func TestProxy_ShowsWhatItWrote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, fake := range w.hosts {
		fake.Engine.Behave("traefik:v3.6", hosttest.Behaviour{Log: []string{"one", "two"}})
	}
	w.exits(exit.OK, "proxy", "boot")
	stdout, _ := w.exits(exit.OK, "proxy", "logs", "-n", "1")
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); len(lines) != 2 || !strings.Contains(stdout, "[vm1] two\n") || !strings.Contains(stdout, "[vm2] two\n") {
		t.Errorf("the lines are %q", lines)
	}
}
