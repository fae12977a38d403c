package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// legacy has another program listen at port 80 of a host.
func (w *world) legacy(hostName string) {
	w.t.Helper()
	w.hosts[hostName].Engine.AddImage("legacy:1", hosttest.Image{Cmd: []string{"serve"}})
	h, err := w.pool().Get(w.t.Context(), hostName)
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := h.Engine().Create(w.t.Context(), engine.Spec{Name: "legacy", Image: "legacy:1", Ports: []engine.Port{{Host: 80, Container: 80}}})
	if err == nil {
		err = h.Engine().Start(w.t.Context(), id)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestPreflight_TellsBeforeAnythingIsBuiltWhatADeployWouldMeet(t *testing.T) {
	t.Parallel()
	const login = "insecure: true, username: deployer, password: [APP_PASSWORD]}\nservers"
	for name, c := range map[string]struct {
		spoil func(*world)
		args  []string
		code  exit.Code
		fails string // The checks that do.
		says  string
	}{
		"all is well":                 {code: exit.OK},
		"after a deploy":              {spoil: func(w *world) { w.deploy("v1") }, code: exit.OK},
		"a secret is missing":         {spoil: func(w *world) { w.configure("env: {secret: [TOKEN]}\n") }, code: exit.Config, fails: "secrets", says: "secret TOKEN is missing"},
		"a secret is on the hosts":    {spoil: func(w *world) { w.configure("env: {secret: [TOKEN]}\n") }, args: []string{"--secrets-from", "hosts"}, code: exit.OK},
		"a login's secret is missing": {spoil: func(w *world) { w.replace("insecure: true}\nservers", login) }, args: []string{"--secrets-from", "hosts"}, code: exit.Config, fails: "secrets registry", says: "APP_PASSWORD"},
		"a login is wrong": {spoil: func(w *world) {
			w.registry.Protect("deployer", "right")
			w.env["APP_PASSWORD"] = "not-the-right-one"
			w.replace("insecure: true}\nservers", login)
		}, code: exit.Registry, fails: "registry", says: "check the secret APP_PASSWORD"},
		"the lease is held":         {spoil: func(w *world) { w.exits(exit.OK, "lock", "acquire", "-m", "maintenance of the disks") }, code: exit.LeaseHeld, fails: "lease", says: "maintenance of the disks"},
		"a deploy would queue":      {spoil: func(w *world) { w.exits(exit.OK, "lock", "acquire", "-m", "maintenance of the disks") }, args: []string{"--wait", "1m"}, code: exit.OK},
		"an engine is off":          {spoil: func(w *world) { w.hosts["vm2"].Engine.SetDown(true) }, code: exit.Unreachable, fails: "vm2", says: "engine not running on vm2"},
		"a port is in use":          {spoil: func(w *world) { w.legacy("vm1") }, code: exit.Failed, fails: "vm1", says: "port 80 on vm1 is in use"},
		"a port of no proxied role": {spoil: func(w *world) { w.legacy("vm3") }, code: exit.OK},
		"another processor":         {spoil: func(w *world) { w.configure("builder: {platforms: [linux/s390x]}\n") }, code: exit.Failed, fails: "vm1 vm2 vm3", says: "builder.platforms: ["},
		"another service's route": {spoil: func(w *world) {
			other := w.service("other", "")
			other.deploy("v1")
		}, code: exit.Failed, fails: "vm1", says: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.image("v1")
			if c.spoil != nil {
				c.spoil(w)
			}
			w.forget()
			before := w.picture()
			stdout, stderr := w.exits(c.code, append([]string{"preflight", "--output", "json"}, c.args...)...)
			var sum preflightReport
			if err := json.Unmarshal([]byte(stdout), &sum); err != nil {
				t.Fatalf("%v: %q", err, stdout)
			}
			if len(sum.Checks) != 6 || sum.Ready != (c.code == exit.OK) {
				t.Errorf("got %d checks and ready: %t, want secrets, registry, lease and three hosts\n%s", len(sum.Checks), sum.Ready, stdout)
			}
			for _, one := range sum.Checks {
				if failed := slices.Contains(strings.Fields(c.fails), one.Check); one.OK == failed {
					t.Errorf("%s: got ok: %t, %s", one.Check, one.OK, one.Error)
				}
			}
			if !strings.Contains(stderr, c.says) {
				t.Errorf("it does not say %q:\n%s", c.says, stderr)
			}
			after := w.picture()
			for _, seen := range []map[string]string{before, after} { // kstep reads a host's clock from a file beside the lease.
				maps.DeleteFunc(seen, func(what, _ string) bool { return strings.Contains(what, "/lease/") })
			}
			if !maps.Equal(before, after) {
				for what, now := range after {
					if before[what] != now {
						t.Errorf("it changed %s from %q to %q", what, before[what], now)
					}
				}
			}
		})
	}
}

// make builds again where files have changed, and its release may have the lease.
func TestPreflight_AcceptsTheLeaseOfTheReleaseInTheStateFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stages("v1", "assets") // And no further.
	stdout, _ := w.exits(exit.OK, "preflight")
	if !strings.Contains(stdout, "held by the release in ") {
		t.Errorf("got\n%s", stdout)
	}
	w.forget()
	w.exits(exit.LeaseHeld, "preflight")
}
