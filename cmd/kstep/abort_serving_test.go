package main

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// free expects the lease to be free.
func (w *world) free() {
	w.t.Helper()
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		w.t.Errorf("the lease is not free: %s", stdout)
	}
}

// removeStopped removes the containers of a role on a host that do not run.
func (w *world) removeStopped(hostName, role string) {
	w.t.Helper()
	client := w.hosts[hostName].Look()
	for _, c := range w.containersOf(hostName) {
		if c.Labels[engine.LabelRole] == role && !c.Up() {
			if err := client.Remove(w.t.Context(), c.ID); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// TestAbort_LeavesACompleteReleaseAloneWhenAWorkerWasStopped is the outage of a
// redeploy, whose old containers are gone, and of two plain deploys.
func TestAbort_LeavesACompleteReleaseAloneWhenAWorkerWasStopped(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world){
		"redeploy": func(w *world) {
			w.deploy("v2")
			w.append("env: {clear: {GREETING: hello}}\n")
			w.exits(exit.OK, "redeploy", "--image", w.registry.Host()+"/acme/shop:v2", "--version", "v2")
		},
		"second deploy": func(w *world) { w.deploy("v1"); w.deploy("v2") },
		"first deploy":  func(w *world) { w.deploy("v2") },
		"role added since": func(w *world) {
			w.deploy("v2")
			w.replace("  job:\n", "  mailer: {hosts: [vm1, vm3], cmd: mail, healthcheck: {cmd: \"true\"}}\n  job:\n")
		},
		"host added since": func(w *world) {
			w.replace("web: [vm1, vm2]", "web: [vm1]")
			w.deploy("v2")
			w.replace("web: [vm1]", "web: [vm1, vm2]")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			prepare(w)
			w.exits(exit.OK, "app", "stop", "--roles", "job")
			pool := w.pool()
			before := w.standing(pool)
			for _, command := range sources() {
				_, stderr := w.exits(exit.OK, command...)
				if !strings.Contains(stderr, "nothing to abort: release") && !strings.Contains(stderr, "no release is under way") {
					t.Errorf("kstep %v does not say that there is nothing to abort:\n%s", command, stderr)
				}
			}
			if got := w.standing(pool); !maps.Equal(got, before) {
				t.Errorf("the hosts have\n%v, want\n%v", got, before)
			}
			if status, body := w.get("vm1"); status != 200 || !strings.Contains(body, "v2") {
				t.Errorf("vm1 answers %d %q, want v2", status, body)
			}
			w.free()
		})
	}
}

func TestAbort_RefusesWhereTheWayBackIsGone(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.ready("v2")
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.removeStopped("vm1", "web")
			pool := w.pool()
			before := w.standing(pool)
			for _, command := range [][]string{{"abort"}, {"abort", "--yes"}} {
				_, stderr := w.exits(exit.Failed, command...)
				for _, want := range []string{"nothing was changed", "web@vm1", "kstep deploy", "kstep rollback VERSION"} {
					if !strings.Contains(stderr, want) {
						t.Errorf("kstep %v does not say %q:\n%s", command, want, stderr)
					}
				}
			}
			if got := w.standing(pool); !maps.Equal(got, before) {
				t.Errorf("the hosts have\n%v, want\n%v", got, before)
			}
			w.free()
			w.exits(exit.OK, "deploy", "--image", w.registry.Host()+"/acme/shop:v2", "--version", "v2")
			w.serves("v2")
		})
	}
}

func TestAbort_AsksForYesOnceTheTrafficHasMovedEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	pool := w.pool()
	w.ready("v2")
	w.exits(exit.OK, "cutover", "--roles", "web")
	moved := w.standing(pool)
	_, stderr := w.exits(exit.Usage, "abort")
	for _, want := range []string{"nothing was changed", "users get version v2 on every host (vm1, vm2)", "version v1", "--yes"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the refusal does not say %q:\n%s", want, stderr)
		}
	}
	if got := w.standing(pool); !maps.Equal(got, moved) {
		t.Errorf("the hosts have\n%v, want\n%v", got, moved)
	}
	w.serves("v2")
	w.free()
	w.exits(exit.OK, "cutover") // What was refused has not closed the barrier.
	w.exits(exit.OK, "abort")
	w.serves("v2")
	w.deploy("v1")
	before := w.standing(pool)
	w.ready("v3")
	w.exits(exit.OK, "cutover", "--roles", "web")
	w.exits(exit.OK, "abort", "--yes")
	w.stands(pool, "after abort --yes", before)
}

// TestAbort_LeavesAReleaseThatCutoverDoesNotTouch: its containers have not
// crashed, and the next release is not locked out.
func TestAbort_LeavesAReleaseThatCutoverDoesNotTouch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.ready("v2")
	w.exits(exit.OK, "abort")
	for _, flags := range [][]string{{}, {"--state-from", "hosts"}} {
		if len(flags) > 0 {
			w.forget()
		}
		_, stderr := w.exits(exit.BarrierClosed, append([]string{"cutover"}, flags...)...)
		if !strings.Contains(stderr, "aborted by ") || strings.Contains(stderr, "crashed") {
			t.Errorf("cutover %v does not say that the release was aborted:\n%s", flags, stderr)
		}
		w.free()
	}
	w.pushed("v3")
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	w.serves("v1")
}

// TestAbort_StopsWhatAnEngineStartsLate: a process that was killed may have sent
// a request that the engine carries out after abort has looked.
func TestAbort_StopsWhatAnEngineStartsLate(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]string{"a new container": "v2", "a retained one": "v0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v0")
			w.deploy("v1")
			pool := w.pool()
			before := w.standing(pool)
			w.pushed(version, "--new-release")
			for _, stage := range []string{"assets", "env-push", "boot"} {
				w.exits(exit.OK, stage)
			}
			client := w.hosts["vm1"].Look()
			late := w.containersOf("vm1")["shop-web-"+version]
			if err := client.Stop(t.Context(), late.ID, engine.Stop{}); err != nil {
				t.Fatal(err)
			}
			lists := 0
			w.on = func(op host.Op) {
				if op.Host != "vm1" || op.Name != "GET /containers/json" {
					return
				}
				w.mu.Lock()
				lists++
				now := lists == 2 // The roles, then those of web: it looks down.
				w.mu.Unlock()
				if now {
					if err := client.Start(context.WithoutCancel(t.Context()), late.ID); err != nil {
						t.Error(err)
					}
				}
			}
			w.exits(exit.OK, "abort")
			w.on = nil
			if lists < 3 {
				t.Fatalf("abort listed the containers %d times: the late start was not tried", lists)
			}
			w.stands(pool, "after a late start", before)
		})
	}
}
