package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// alias makes a fake host reachable by another name, through a jump host: by
// what is written they could be two machines.
func (w *world) alias(name, of, through string) {
	w.t.Helper()
	fake := w.hosts[of]
	address, port, err := net.SplitHostPort(fake.Address())
	if err != nil {
		w.t.Fatal(err)
	}
	file := w.ssh.Config.Files[0]
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	block := fmt.Sprintf("Host %s\n  HostName %s\n  Port %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  ProxyJump %s\n",
		name, address, port, fake.KeyFile(), through)
	if err := os.WriteFile(file, append(text, block...), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// nothingOn fails if anything of kstep is on a host.
func (w *world) nothingOn(name string) {
	w.t.Helper()
	if all := w.containersOf(name); len(all) > 0 {
		w.t.Errorf("%s has containers: %v", name, all)
	}
	if _, err := os.Stat(filepath.Join(w.hosts[name].Home, ".kstep")); err == nil {
		w.t.Errorf("%s has a run directory", name)
	}
}

func TestMachines_OneUnderTwoNamesIsRefusedByItsText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		web, job  string
		one, same string
	}{
		"another user":           {"vm1, root@vm1", "vm3", "vm1", "root@vm1"},
		"the usual port":         {"vm9, vm2, \"vm9:22\"", "vm3", "vm9", "vm9:22"},
		"capitals":               {"vm9, VM9", "vm3", "vm9", "VM9"},
		"a dot at the end":       {"web.example.com", "WEB.example.com.", "web.example.com", "WEB.example.com."},
		"another role":           {"vm1, vm2", "deploy@vm2", "vm2", "deploy@vm2"},
		"an address in brackets": {`"fd00::1"`, `"[fd00:0:0:0::1]:22"`, "fd00::1", "[fd00:0:0:0::1]:22"},
		"with tags":              {"vm2, vm1: blue, deploy@vm1: green", "vm3", "vm1", "deploy@vm1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("web: [vm1, vm2]", "web: ["+c.web+"]")
			w.replace("hosts: [vm3]", "hosts: ["+c.job+"]")
			if strings.Contains(c.web, "blue") {
				w.append("env: {tags: {blue: {A: b}, green: {A: g}}}\n")
			}
			_, stderr := w.exits(exit.Config, "config", "validate")
			want := fmt.Sprintf("%s is the same machine as %s (", c.same, c.one)
			if !strings.Contains(stderr, want) || !strings.Contains(stderr, "kstep.yml:") {
				t.Errorf("got\n%s\nwant %q, with its place", stderr, want)
			}
			if len(w.operations()) > 0 {
				t.Error("a host was connected")
			}
		})
	}
}

func TestMachines_TwoOfOneNameOnDifferentPortsOrNetworksAreTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alias("inner", "vm1", "vm2")
	w.replace("web: [vm1, vm2]", `web: [gate, "gate:2222", inner, vm1]`)
	w.exits(exit.OK, "config", "validate")
}

func TestMachines_OneUnderTwoNamesIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		web, job, extra string
		args            []string
	}{
		"in two roles":              {"vm1, vm2", "inner", "", []string{"deploy"}},
		"in one role":               {"inner, vm2, vm1", "vm3", "", []string{"deploy"}},
		"in a plan":                 {"vm1, vm2", "inner", "", []string{"plan"}},
		"as an accessory's host":    {"vm1, vm2", "vm3", "accessories: {db: {image: x/db, host: inner}}\n", []string{"deploy"}},
		"as the lease's host":       {"vm1, vm2", "inner", "", []string{"deploy", "--hosts", "inner"}},
		"in a command of the proxy": {"vm1, inner", "vm3", "", []string{"proxy", "boot"}},
		"in a stage":                {"vm1, inner", "vm3", "", []string{"env", "push"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.alias("inner", "vm1", "vm2")
			w.configure(c.extra)
			w.replace("web: [vm1, vm2]", "web: ["+c.web+"]")
			w.replace("hosts: [vm3]", "hosts: ["+c.job+"]")
			args := c.args
			if slices.Contains([]string{"deploy", "plan"}, args[0]) {
				args = append(slices.Clone(args), "--image", w.image("v1"), "--version", "v1")
			}
			_, stderr := w.exits(exit.Config, args...)
			if !strings.Contains(stderr, "is the same machine as") || strings.Count(stderr, "kstep.yml:") < 2 {
				t.Errorf("got\n%s\nwant both entries with their places", stderr)
			}
			for _, vm := range []string{"vm1", "vm2", "vm3"} {
				w.nothingOn(vm)
			}
		})
	}
}

func TestMachines_ClonesOfOneImageAreNotRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hosts["vm2"].CloneOf(w.hosts["vm1"])
	w.hosts["vm3"].CloneOf(w.hosts["vm1"])
	w.deploy("v1")
	w.serves("v1")
}

func TestMachines_JobsOfOneHostEachMeetAtTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alias("inner", "vm2", "vm3")
	w.replace("web: [vm1, vm2]", "web: [vm1, vm2, inner]")
	w.exits(exit.OK, "push", "--image", w.image("v1"), "--version", "v1")
	w.exits(exit.OK, "assets", "--hosts", "vm1")
	w.exits(exit.OK, "assets", "--hosts", "vm2")
	_, stderr := w.exits(exit.Config, "assets", "--hosts", "inner")
	if !strings.Contains(stderr, "inner is the same machine as vm2") {
		t.Errorf("got\n%s", stderr)
	}
	w.exits(exit.OK, "assets", "--hosts", "vm2") // Again, by its own name.
	w.exits(exit.OK, "assets", "--hosts", "vm3")
}

func TestMachines_WithoutABootIDTheEngineAndItsNameCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.alias("inner", "vm1", "vm2")
	for _, fake := range w.hosts {
		fake.HideBoot()
	}
	w.deploy("v1")
	w.replace("hosts: [vm3]", "hosts: [inner]")
	_, stderr := w.exits(exit.Config, "env", "push")
	if !strings.Contains(stderr, "inner is the same machine as vm1") {
		t.Errorf("got\n%s", stderr)
	}
}
