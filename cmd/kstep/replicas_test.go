package main

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// replicas makes the web role have so many containers on each host.
func (w *world) replicas(extra, count string) {
	w.t.Helper()
	w.configure(extra)
	w.replace("web: [vm1, vm2]", "web: {hosts: [vm1, vm2], replicas: "+count+"}")
}

// works expects exactly these containers of the service to run on a host, and
// returns them in this order.
func (w *world) works(hostName string, want ...string) (found []engine.Container) {
	w.t.Helper()
	all := w.containersOf(hostName)
	var names []string
	for name, c := range all {
		if c.Running() && c.Labels[engine.LabelService] != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	sorted := slices.Sorted(slices.Values(want))
	if !slices.Equal(names, sorted) {
		w.t.Fatalf("%s runs %v, want %v", hostName, names, sorted)
	}
	for _, name := range want {
		found = append(found, all[name])
	}
	return found
}

func TestReplicas_ComeAndGoWithoutALostRequest(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			one := w.works("vm1", "shop-web-v1")
			stop := w.hammer(w.pool())

			w.replicas(extra, "3") // Of the same version: what runs is right already.
			v1 := []string{"--image", w.registry.Host() + "/acme/shop:v1", "--version", "v1", "--new-release"}
			p := w.planned(v1...)
			w.exits(exit.OK, append([]string{"deploy"}, v1...)...)
			w.agrees(p, afterBuild()...)
			three := w.works("vm1", "shop-web-v1", "shop-web.2-v1", "shop-web.3-v1")
			if three[0].ID != one[0].ID {
				t.Error("the first container was made anew")
			}
			if kind == "routes" {
				w.exits(exit.OK, append([]string{"deploy"}, v1[:4]...)...)
				for _, stage := range afterBuild() {
					if got := w.state(stage)["status"]; got != "unchanged" {
						t.Errorf("%s run again says %v, want unchanged", stage, got)
					}
				}
			}

			w.replicas(extra, "2")
			w.deploy("v2")
			w.works("vm2", "shop-web-v2", "shop-web.2-v2")
			w.serves("v2")
			w.exits(exit.OK, "rollback") // As many as there were.
			if back := w.works("vm1", "shop-web-v1", "shop-web.2-v1", "shop-web.3-v1"); !slices.Equal(engine.IDs(back), engine.IDs(three)) {
				t.Error("rollback made containers anew")
			}

			w.replicas(extra, "1") // The first stays, the others drain and stop.
			p = w.planned(v1...)
			w.exits(exit.OK, append([]string{"deploy"}, v1...)...)
			w.agrees(p, afterBuild()...)
			if last := w.works("vm1", "shop-web-v1"); last[0].ID != one[0].ID {
				t.Error("the container that stays was made anew")
			}
			kept := w.containersOf("vm1")
			for name, want := range map[string]bool{"shop-web.2-v1": false, "shop-web-v2": true, "shop-web.2-v2": true} {
				if _, got := kept[name]; got != want {
					t.Errorf("%s is retained: %t, want %t", name, got, want)
				}
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestReplicas_OneThatIsSickKeepsTheOldOnesOfItsHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replicas("", "2")
	w.deploy("v1")
	w.behave("v2", hosttest.Behaviour{Log: []string{"hello"}, Handler: func(p hosttest.Process) http.Handler {
		if strings.Contains(p.Name, ".2-") {
			return sick(p)
		}
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	}})
	_, stderr := w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
	for _, want := range []string{"container shop-web.2-v2: ", "shop-web.2-v2: ", "503"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
	if strings.Contains(stderr, "container shop-web-v2:") {
		t.Errorf("the healthy replica is blamed:\n%s", stderr)
	}
	w.works("vm1", "shop-web-v1", "shop-web.2-v1")
	w.serves("v1")
	stdout, _ := w.exits(exit.OK, "status")
	if !strings.Contains(stdout, "2 running") {
		t.Errorf("status does not count the containers:\n%s", stdout)
	}
}

func TestReplicas_OnAHostWhereBootFailedAreNotCutOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replicas("", "2")
	w.deploy("v1")
	w.pushed("v2")
	w.exits(exit.OK, "assets")
	w.exits(exit.OK, "env-push")
	look := w.hosts["vm2"].Look()
	defer look.CloseIdle()
	if _, err := look.Create(t.Context(), engine.Spec{Name: "shop-web.2-v2", Image: "traefik:v3.6"}); err != nil {
		t.Fatal(err)
	}
	_, stderr := w.exits(exit.Config, "boot")
	if !strings.Contains(stderr, "shop-web.2-v2 on vm2 is not a container of role web of shop") {
		t.Errorf("the message does not tell what is in the way:\n%s", stderr)
	}
	for _, stage := range []string{"barrier-wait", "cutover"} {
		_, _, stderr := w.kstep(stage, "--resume")
		if !strings.Contains(stderr, "web@vm2") {
			t.Errorf("%s does not tell of vm2:\n%s", stage, stderr)
		}
	}
	w.works("vm1", "shop-web-v2", "shop-web.2-v2")
	w.works("vm2", "shop-web-v1", "shop-web.2-v1")
}

// TestReplicas_ThatEndWhenTheyGetTrafficLeaveItToTheOnesBefore ends the one that
// is new, of two of a version, as its cord is tied: the other one was there
// before, and is no part of what failed.
func TestReplicas_ThatEndWhenTheyGetTrafficLeaveItToTheOnesBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(switches()["cord"])
	w.deploy("v1")
	before := w.works("vm1", "shop-web-v1")
	w.replicas(switches()["cord"], "2")
	look := w.hosts["vm1"].Look()
	defer look.CloseIdle()
	var tied atomic.Int64
	w.on = func(op host.Op) {
		if op.Host == "vm1" && op.Name == "write" && path.Base(op.Path) == "cord" && tied.Add(1) == 2 {
			if err := look.Stop(t.Context(), "shop-web.2-v1", engine.Stop{}); err != nil {
				t.Error(err)
			}
		}
	}
	stop := w.hammer(w.pool())
	_, stderr := w.exits(exit.Partial, "deploy", "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1", "--new-release")
	if !strings.Contains(stderr, "moved traffic back to shop-web-v1") {
		t.Errorf("it is not told where the traffic is:\n%s", stderr)
	}
	if sent, failed := stop(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
	}
	if now := w.works("vm1", "shop-web-v1"); now[0].ID != before[0].ID {
		t.Error("the container that served was made anew")
	}
	w.works("vm2", "shop-web-v1", "shop-web.2-v1")
	w.serves("v1")
}

func TestReplicas_OfAWorkerStartAfterAllOldOnesStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("    cmd: work hard\n", "    cmd: work hard\n    start: after-barrier\n    replicas: 2\n")
	w.deploy("v1")
	w.works("vm3", "shop-job-v1", "shop-job.2-v1")
	w.deploy("v2")
	w.works("vm3", "shop-job-v2", "shop-job.2-v2")
	look := w.hosts["vm3"].Look()
	defer look.CloseIdle()
	seen := map[string]engine.Container{}
	for _, name := range []string{"shop-job-v1", "shop-job.2-v1", "shop-job-v2", "shop-job.2-v2"} {
		c, err := look.Inspect(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = c
	}
	for _, old := range []string{"shop-job-v1", "shop-job.2-v1"} {
		for _, fresh := range []string{"shop-job-v2", "shop-job.2-v2"} {
			if !seen[old].Finished.Before(seen[fresh].Started) {
				t.Errorf("%s started at %s, before %s had ended at %s", fresh, seen[fresh].Started, old, seen[old].Finished)
			}
		}
	}
}

// TestReplicas_AbortOfAnotherNumberGoesBackToTheOldOne goes back to containers of
// the version that is aborted: some of them are the release's, too.
func TestReplicas_AbortOfAnotherNumberGoesBackToTheOldOne(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replicas(extra, "2")
			w.deploy("v1")
			names := []string{"shop-web-v1", "shop-web.2-v1"}
			before := w.works("vm1", names...)
			stop := w.hammer(w.pool())
			for _, count := range []string{"1", "3"} {
				w.replicas(extra, count)
				w.exits(exit.OK, "push", "--image", w.registry.Host()+"/acme/shop:v1", "--version", "v1", "--new-release")
				for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
					w.exits(exit.OK, stage)
				}
				w.exits(exit.OK, "cutover", "--hosts", "vm1")
				var moving atomic.Bool
				if !w.killedAt(func(op host.Op) bool { // On vm2: in the midst of it.
					if op.Host != "vm2" || moving.Load() {
						return moving.Load()
					}
					tiesOrCuts := path.Base(op.Path) == "cord" && op.Name != "stat"
					moving.Store(tiesOrCuts || op.Name == "write" && path.Ext(op.Path) == ".yml")
					return false
				}, "cutover") {
					t.Fatal("the cutover came to its end")
				}
				w.aborted("v1", "abort")
				for _, name := range []string{"vm1", "vm2"} {
					w.works(name, names...)
				}
				if now := w.works("vm1", names...); !slices.Equal(engine.IDs(now), engine.IDs(before)) {
					t.Errorf("the abort of %s made containers anew", count)
				}
				w.exits(exit.OK, "abort")
				if got := w.state("abort")["status"]; got != "unchanged" {
					t.Errorf("abort run again says %v, want unchanged", got)
				}
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

// TestReplicas_APlanHoldsBetweenTwoCords kills a cutover when some replicas have
// the traffic and others have not: that is no sign of another release.
func TestReplicas_APlanHoldsBetweenTwoCords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replicas(switches()["cord"], "2")
	w.deploy("v1")
	for version, name := range map[string]string{"v2": "write", "v3": "remove"} {
		plan := w.planTo(version)
		for _, stage := range afterBuild()[:5] {
			w.exits(exit.OK, stage, "--plan", plan)
		}
		var done atomic.Int64
		if !w.killedAt(func(op host.Op) bool {
			return op.Host == "vm1" && op.Name == name && path.Base(op.Path) == "cord" && done.Add(1) > 1
		}, "cutover", "--plan", plan) {
			t.Fatalf("there is no second %s of a cord", name)
		}
		w.exits(exit.OK, "deploy", "--plan", plan)
		w.works("vm1", "shop-web-"+version, "shop-web.2-"+version)
	}
}
