package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// policies are the states and restart policies of a host's application
// containers, such as `exited no`, by name.
func (w *world) policies(hostName string) map[string]string {
	w.t.Helper()
	found := map[string]string{}
	look := w.hosts[hostName].Look()
	defer look.CloseIdle()
	for name, c := range w.containersOf(hostName) {
		if c.Labels[engine.LabelRole] == "" {
			continue
		}
		now, err := look.Inspect(w.t.Context(), c.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		found[name] = now.State + " " + now.Restart
	}
	return found
}

// hasPolicies expects states and restart policies.
func (w *world) hasPolicies(hostName string, want map[string]string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.policies(hostName)); diff != "" {
		w.t.Errorf("%s: (-want +got)\n%s", hostName, diff)
	}
}

// running are the names of all containers that run, by host.
func (w *world) running() map[string][]string {
	w.t.Helper()
	found := map[string][]string{}
	for hostName := range w.hosts {
		for name, c := range w.containersOf(hostName) {
			if c.Up() {
				found[hostName] = append(found[hostName], name)
			}
		}
		slices.Sort(found[hostName])
	}
	return found
}

// outlivesRestarts expects that a restart of all engines changes nothing in what
// runs.
func (w *world) outlivesRestarts() {
	w.t.Helper()
	before := w.running()
	for _, fake := range w.hosts {
		fake.Engine.Restart()
	}
	if diff := cmp.Diff(before, w.running()); diff != "" {
		w.t.Errorf("after a restart of the engines other containers run: (-before +after)\n%s", diff)
	}
}

// comesBack kills a container's process and waits until it runs again.
func (w *world) comesBack(hostName, name string) {
	w.t.Helper()
	look := w.hosts[hostName].Look()
	defer look.CloseIdle()
	before := w.containersOf(hostName)[name]
	w.hosts[hostName].Engine.KillProcess(name)
	deadline := time.Now().Add(10 * time.Second)
	for {
		now, err := look.Inspect(w.t.Context(), before.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		if now.Running() && now.Restarts > 0 {
			return
		}
		if now.State == "exited" || time.Now().After(deadline) {
			w.t.Fatalf("%s on %s is %s with policy %s after its process was killed", name, hostName, now.State, now.Restart)
		}
	}
}

// restartPolicies are policies under which an engine that restarts starts
// containers that were stopped, and one that does not.
func restartPolicies() []string {
	return []string{"always", "on-failure:3", "on-failure", "unless-stopped", "no"}
}

// policed is a world in which all roles have a restart policy, and whose
// programs end as a JVM does.
func policed(t *testing.T, policy, extra string) *world {
	w := newWorld(t)
	w.configure(extra)
	w.replace("web: [vm1, vm2]", fmt.Sprintf("web: {hosts: [vm1, vm2], options: {restart: %q}}", policy))
	w.replace("    cmd: work hard\n", fmt.Sprintf("    cmd: work hard\n    options: {restart: %q}\n", policy))
	for _, version := range []string{"v1", "v2", "v3"} {
		w.behave(version, hosttest.Behaviour{StopStatus: 143})
	}
	return w
}

func TestRestart_OfTheEngineBringsBackWhatServed(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for i, policy := range restartPolicies() {
			if kind == "cord" && i > 1 {
				continue // What an engine does with a policy is no matter of the switch.
			}
			t.Run(policy+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := policed(t, policy, extra)
				for _, version := range []string{"v1", "v2", "v3"} {
					w.deploy(version)
				}
				for hostName, role := range map[string]string{"vm1": "web", "vm2": "web", "vm3": "job"} {
					w.hasPolicies(hostName, map[string]string{
						"shop-" + role + "-v1": "exited no", "shop-" + role + "-v2": "exited no", "shop-" + role + "-v3": "running " + policy,
					})
				}
				w.exits(exit.OK, "rollback", "v1")
				for hostName, role := range map[string]string{"vm1": "web", "vm2": "web", "vm3": "job"} {
					w.hasPolicies(hostName, map[string]string{
						"shop-" + role + "-v1": "running " + policy, "shop-" + role + "-v2": "exited no", "shop-" + role + "-v3": "exited no",
					})
				}
				switch policy {
				case "always": // Of the others an engine does not start all that served.
					w.outlivesRestarts()
					w.comesBack("vm1", "shop-web-v1")
					w.comesBack("vm3", "shop-job-v1")
					w.serves("v1")
				case "on-failure:3":
					w.outlivesRestarts()
				}
			})
		}
	}
}

func TestRestart_LeavesStoppedWhatKstepStopped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(*world)
		want map[string]string // On vm1.
		job  map[string]string // On vm3.
	}{
		"a release behind a closed barrier": {func(w *world) {
			three := 3
			w.behave("v2", hosttest.Behaviour{Exit: &three})
			w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
		}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}, map[string]string{"shop-job-v1": "running always", "shop-job-v2": "exited no"}},
		"a release that is sick": {func(w *world) {
			w.behave("v2", hosttest.Behaviour{Handler: sick, StopStatus: 143})
			w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
		}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}, map[string]string{"shop-job-v1": "running always", "shop-job-v2": "exited no"}},
		"a release that was aborted": {func(w *world) {
			w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.exits(exit.OK, "abort")
			w.comesBack("vm1", "shop-web-v1")
		}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}, map[string]string{"shop-job-v1": "running always", "shop-job-v2": "exited no"}},
		"replicas that are too many": {func(w *world) {
			w.replace("web: {hosts: [vm1, vm2]", "web: {hosts: [vm1, vm2], replicas: 2")
			w.deploy("v2")
			w.replace("replicas: 2", "replicas: 1")
			w.exits(exit.OK, append(w.deployArgs("v2"), "--new-release")...)
		}, map[string]string{"shop-web-v1": "exited no", "shop-web-v2": "running always"}, map[string]string{"shop-job-v1": "exited no", "shop-job-v2": "running always"}},
		"app stop": {func(w *world) {
			w.exits(exit.OK, "app", "stop")
		}, map[string]string{"shop-web-v1": "exited no"}, map[string]string{"shop-job-v1": "exited no"}},
		"app stop and app start": {func(w *world) {
			w.exits(exit.OK, "app", "stop")
			w.exits(exit.OK, "app", "start")
			w.comesBack("vm1", "shop-web-v1")
		}, map[string]string{"shop-web-v1": "running always"}, map[string]string{"shop-job-v1": "running always"}},
		"app stop and the next deploy of the same version": {func(w *world) {
			w.exits(exit.OK, "app", "stop")
			w.exits(exit.OK, "deploy", "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1", "--new-release")
			w.comesBack("vm3", "shop-job-v1")
		}, map[string]string{"shop-web-v1": "running always"}, map[string]string{"shop-job-v1": "running always"}},
		"stale containers": {func(w *world) {
			w.stages("v2", "assets", "env-push", "boot")
			w.exits(exit.OK, "lock", "release", "--force")
			w.exits(exit.OK, "app", "stale-containers", "--stop")
		}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}, map[string]string{"shop-job-v1": "running always", "shop-job-v2": "exited no"}},
		"an old version that had crashed": {func(w *world) {
			w.by("vm1", "shop-web-v1").crash()
			w.deploy("v2")
		}, map[string]string{"shop-web-v1": "exited no", "shop-web-v2": "running always"}, map[string]string{"shop-job-v1": "exited no", "shop-job-v2": "running always"}},
	} {
		for kind, extra := range switches() {
			t.Run(name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := policed(t, "always", extra)
				w.deploy("v1")
				c.act(w)
				w.hasPolicies("vm1", c.want)
				w.hasPolicies("vm3", c.job)
				w.outlivesRestarts()
			})
		}
	}
}

// hand is a person's on one container.
type hand struct {
	w              *world
	hostName, name string
}

func (w *world) by(hostName, name string) hand { return hand{w, hostName, name} }

// crash ends the container for good, by itself: its policy was used up.
func (h hand) crash() {
	h.w.t.Helper()
	h.sets("no")
	h.w.hosts[h.hostName].Engine.KillProcess(h.name)
	h.sets("always")
}

func (h hand) sets(policy string) {
	h.w.t.Helper()
	look := h.w.hosts[h.hostName].Look()
	defer look.CloseIdle()
	if err := look.SetRestart(h.w.t.Context(), h.name, policy); err != nil {
		h.w.t.Fatal(err)
	}
}

func (h hand) starts() {
	h.w.t.Helper()
	look := h.w.hosts[h.hostName].Look()
	defer look.CloseIdle()
	if err := look.Start(h.w.t.Context(), h.name); err != nil {
		h.w.t.Fatal(err)
	}
}

// byOlder turns the world into one that a version of kstep before the label
// deployed: containers without label, all with the policy of their own.
func (w *world) byOlder(policy string) {
	w.t.Helper()
	for hostName, fake := range w.hosts {
		fake.Engine.DropLabel(engine.LabelRestart)
		for name := range w.policies(hostName) {
			w.by(hostName, name).sets(policy)
		}
	}
}

func TestRestart_HostsOfVersionsBeforeTheLabelAreTakenOver(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"always", "on-failure:3"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := policed(t, policy, "")
			w.deploy("v1")
			w.deploy("v2")
			w.byOlder(policy)
			again := []string{"--image", w.registry.Host() + "/acme/shop:v2", "--version", "v2", "--new-release"}
			p := w.planned(again...)
			if text := planText(p, false); !strings.Contains(text, "vm1, vm2  ~ set the restart policy of shop-web-v1 to no") {
				t.Errorf("the plan does not show what prune does:\n%s", text)
			}
			w.exits(exit.OK, append([]string{"deploy"}, again...)...)
			w.agrees(p, "boot", "cutover", "prune")
			w.hasPolicies("vm1", map[string]string{"shop-web-v1": "exited no", "shop-web-v2": "running " + policy})
			w.outlivesRestarts()

			// The policy that a container was created with is not lost, even if
			// the config has another one now.
			w.replace(fmt.Sprintf("restart: %q", policy), `restart: "unless-stopped"`)
			w.deploy("v3")
			w.exits(exit.OK, "rollback", "v1")
			w.hasPolicies("vm1", map[string]string{"shop-web-v1": "running " + policy, "shop-web-v2": "exited no", "shop-web-v3": "exited no"})
			w.exits(exit.OK, "rollback", "v2")
			w.hasPolicies("vm2", map[string]string{"shop-web-v1": "exited no", "shop-web-v2": "running " + policy, "shop-web-v3": "exited no"})
		})
	}
}

func TestRestart_WithoutAnyRecordTheConfigTellsThePolicy(t *testing.T) {
	t.Parallel()
	w := policed(t, "always", "")
	w.deploy("v1")
	w.deploy("v2")
	for _, fake := range w.hosts {
		fake.Engine.DropLabel(engine.LabelRestart) // kstep has not read the policy before it was changed.
	}
	w.exits(exit.OK, "rollback", "v1")
	w.hasPolicies("vm1", map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"})
}

func TestRestart_APersonsStartIsTakenOver(t *testing.T) {
	t.Parallel()
	w := policed(t, "always", "")
	w.deploy("v1")
	w.exits(exit.OK, "app", "stop")
	w.by("vm1", "shop-web-v1").starts()
	w.hasPolicies("vm1", map[string]string{"shop-web-v1": "running no"})
	again := []string{"--image", w.registry.Host() + "/acme/shop:v1", "--version", "v1", "--new-release"}
	p := w.planned(again...)
	w.exits(exit.OK, append([]string{"deploy"}, again...)...)
	w.agrees(p, "boot")
	w.hasPolicies("vm1", map[string]string{"shop-web-v1": "running always"})
	w.exits(exit.OK, "app", "stop", "--roles", "job")
	w.by("vm3", "shop-job-v1").starts()
	w.exits(exit.OK, "app", "start")
	w.hasPolicies("vm3", map[string]string{"shop-job-v1": "running always"})
}

func TestRestart_WorkersThatWereMovedBackHaveTheirPolicy(t *testing.T) {
	t.Parallel()
	w := policed(t, "always", "")
	w.replace("    cmd: work hard\n", "    cmd: work hard\n    start: after-barrier\n")
	w.deploy("v1")
	three := 3
	w.replace("timeout: 20s", "timeout: 2s")
	w.behave("v2", hosttest.Behaviour{})
	w.hosts["vm3"].Engine.Behave("acme/shop:v2", hosttest.Behaviour{Exit: &three})
	code, _, stderr := w.kstep(w.deployArgs("v2")...)
	if code == exit.OK {
		t.Fatalf("exit code 0\n%s", stderr)
	}
	w.hasPolicies("vm3", map[string]string{"shop-job-v1": "running always", "shop-job-v2": "exited no"})
	w.comesBack("vm3", "shop-job-v1")
	w.outlivesRestarts()
}

// TestRestart_KilledAnywhereAndRunAgainEndsRight kills a rollback, an abort, app
// stop and app start at operations of theirs. What stages of a deploy do after
// a kill, TestFaults tries.
func TestRestart_KilledAnywhereAndRunAgainEndsRight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*world)
		args    []string
		want    map[string]string
	}{
		"rollback":  {func(w *world) { w.deploy("v2") }, []string{"rollback", "v1"}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}},
		"app stop":  {func(*world) {}, []string{"app", "stop"}, map[string]string{"shop-web-v1": "exited no"}},
		"app start": {func(w *world) { w.exits(exit.OK, "app", "stop") }, []string{"app", "start"}, map[string]string{"shop-web-v1": "running always"}},
		"abort": {func(w *world) {
			w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
		}, []string{"abort"}, map[string]string{"shop-web-v1": "running always", "shop-web-v2": "exited no"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := policed(t, "always", "")
			w.deploy("v1")
			c.prepare(w)
			w.operations()
			w.exits(exit.OK, c.args...)
			all := len(w.operations())
			for _, k := range slices.Sorted(maps.Keys(map[int]bool{all / 3: true, all / 2: true, all * 2 / 3: true, all * 5 / 6: true})) {
				t.Run(fmt.Sprint("at operation ", k), func(t *testing.T) {
					t.Parallel()
					w := policed(t, "always", "")
					w.deploy("v1")
					c.prepare(w)
					w.killed(k, c.args...)
					w.exits(exit.OK, "lock", "release", "--force")
					w.exits(exit.OK, c.args...)
					w.hasPolicies("vm1", c.want)
					w.outlivesRestarts()
				})
			}
		})
	}
}
