package main

import (
	"slices"
	"strings"
	"testing"
	"time"

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

func TestProxy_RebootWithAProxyThatDoesNotServeLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	status := 1
	for name, next := range map[string]hosttest.Behaviour{
		"it ends at once":       {Exit: &status, Log: []string{"unknown option"}},
		"it crashes a bit late": {Crash: 20 * time.Millisecond, Silent: true, Log: []string{"unknown option"}}, // On a busy machine it may run longer.
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			for _, fake := range w.hosts {
				fake.Engine.AddImage("traefik:v3.7", hosttest.Image{})
				fake.Engine.Behave("traefik:v3.7", next)
			}
			w.configure("proxy: {image: traefik:v3.7}\n")
			before := w.containersOf("vm1")["kstep-proxy"].ID
			w.refuses(exit.Failed, "its log ends with: unknown option", "proxy", "reboot")
			w.serves("v1")
			if after := w.containersOf("vm1")["kstep-proxy"].ID; after != before {
				t.Errorf("the proxy is %s, want the old one, %s", after, before)
			}
			w.configure("")
			w.exits(exit.OK, "proxy", "reboot")
			w.serves("v1")
		})
	}
}

func TestProxy_KilledAnywhereInARebootTheNextOneConverges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	k := 0
	for ; w.killed(k, "proxy", "reboot", "--hosts", "vm1"); k += 3 {
		if k%2 == 0 { // A deploy finds what is left, too.
			w.deploy("v1")
			w.serves("v1")
		}
		w.exits(exit.OK, "proxy", "reboot", "--hosts", "vm1")
		w.serves("v1")
		for _, c := range w.containers("vm1") {
			if strings.HasPrefix(c.Name, "kstep-proxy_") {
				t.Errorf("killed at %d: %s is left", k, c.Name)
			}
		}
	}
	if k < 12 {
		t.Errorf("a reboot has %d operations only: is the right thing killed?", k)
	}
}

func TestProxy_ReadTimeoutOfTheConfigIsTraefiks(t *testing.T) {
	t.Parallel()
	const option = "--entrypoints.web.transport.respondingtimeouts.readtimeout="
	w := newWorld(t)
	limits := func(want string) {
		t.Helper()
		seen, err := w.hosts["vm1"].Look().Inspect(t.Context(), "kstep-proxy")
		if err != nil || !slices.Contains(seen.Cmd, option+want) {
			t.Errorf("got %q, %v, want %s", seen.Cmd, err, option+want)
		}
	}
	w.deploy("v1")
	limits("5m0s")
	w.configure("proxy: {read_timeout: 30m}\n")
	w.says("the proxy on vm1 runs with other settings than the configuration has: kstep proxy reboot", "deploy", "--image", w.image("v2"), "--version", "v2")
	limits("5m0s")
	w.exits(exit.OK, "proxy", "reboot")
	limits("30m0s")
	w.serves("v2")
}
