package main

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// runsOn returns the names of the containers that run on a host.
func (w *world) runsOn(hostName string) (names []string) {
	w.t.Helper()
	for _, c := range w.containers(hostName) {
		if c.Running() {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (w *world) stages(version string, names ...string) {
	w.t.Helper()
	w.exits(exit.OK, "push", "--image", w.image(version), "--version", version)
	for _, name := range names {
		w.exits(exit.OK, name)
	}
}

func TestCutover_StartsTheOldWorkerAgainWhereTheNewOneDies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]string{"with boot": "with-boot", "after the barrier": "after-barrier"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("    healthcheck: {cmd: \"true\"}\n", "    start: "+start+"\n")
			w.deploy("v1")
			// It dies once the old one has stopped, or while it settles.
			var stopped atomic.Bool
			var dies sync.Once
			w.on = func(op host.Op) {
				if op.Host != "vm3" {
					return
				}
				if op.Kind == host.KindEngine && strings.HasSuffix(op.Name, "/stop") {
					stopped.Store(true)
				}
				switch {
				case !stopped.Load():
				case start == "with-boot":
					dies.Do(func() { w.hosts["vm3"].Engine.Crash("shop-job-v2", 4) })
				case strings.HasSuffix(op.Name, "/info"):
					dies.Do(func() {
						time.AfterFunc(50*time.Millisecond, func() { w.hosts["vm3"].Engine.Crash("shop-job-v2", 4) })
					})
				}
			}
			w.behave("v2", hosttest.Behaviour{Log: []string{"no more jobs"}})
			code, _, stderr := w.kstep(w.deployArgs("v2")...)
			if code != exit.Partial && code != exit.RolledBack || strings.Contains(stderr, "is live") {
				t.Errorf("got exit code %d, want 12 or 11:\n%s", code, stderr)
			}
			if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v1"}) {
				t.Errorf("got %q running, want the old worker alone\n%s", got, stderr)
			}
			w.serves("v2")
			w.behave("v3", hosttest.Behaviour{})
			w.deploy("v3")
			if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v3"}) {
				t.Errorf("got %q running, want the next worker", got)
			}
		})
	}
}

// A check that says at once that a worker runs does not say that it lasts.
func TestDeploy_AWorkerThatDiesAfterItWasReadyIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		check  string
		dies   time.Duration
		before bool // Another version serves.
		want   []exit.Code
	}{
		"with a check of its own":       {`healthcheck: {cmd: "true", settle: 30s}`, 2 * time.Second, true, []exit.Code{exit.Partial, exit.RolledBack}},
		"with a check, at first":        {`healthcheck: {cmd: "true", settle: 30s}`, 2 * time.Second, false, []exit.Code{exit.Partial, exit.RolledBack}},
		"a moment later":                {`healthcheck: {cmd: "true", settle: 30s}`, 600 * time.Millisecond, true, []exit.Code{exit.Partial, exit.RolledBack, exit.BarrierClosed}},
		"without a time to settle":      {`healthcheck: {cmd: "true", settle: 0s}`, 5 * time.Minute, true, []exit.Code{exit.OK}},
		"that lasts longer than it has": {`healthcheck: {cmd: "true", settle: 300ms}`, 5 * time.Minute, true, []exit.Code{exit.OK}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.before {
				w.deploy("v1")
			}
			w.replace("    healthcheck: {cmd: \"true\"}\n", "    "+c.check+"\n")
			w.behave("v2", hosttest.Behaviour{})
			w.hosts["vm3"].Engine.Behave(w.image("v2"), hosttest.Behaviour{Crash: c.dies, Log: []string{"no more jobs"}})
			code, _, stderr := w.kstep(w.deployArgs("v2")...)
			if !slices.Contains(c.want, code) {
				t.Errorf("got exit code %d, want one of %v:\n%s", code, c.want, stderr)
			}
			if code != exit.OK && (!strings.Contains(stderr, "no more jobs") || strings.Contains(stderr, "is live")) {
				t.Errorf("the failure does not show the last log lines:\n%s", stderr)
			}
		})
	}
}

// What served before starts as it did then, and what runs for long has lasted.
func TestDeploy_WaitsForNoWorkerThatHasLasted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.deploy("v2")
	w.replace("    healthcheck: {cmd: \"true\"}\n", "    healthcheck: {cmd: \"true\", settle: 10m}\n") // No part of a container.
	began := time.Now()
	w.exits(exit.OK, "rollback")
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("a rollback took %s", took)
	}
	w.hosts["vm3"].Engine.SetClock(11 * time.Minute)
	w.exits(exit.OK, "prune")
}

// A worker that dies while it settles ends a deploy with 12, not with 13: the
// barrier counts the hosts of the primary role only, and that role has moved.
// 13 would mean that users still have the old version. With a primary role that
// dies in the same way, 13 is right, and nothing moves.
func TestDeploy_ADeathWhileItSettlesClosesTheBarrierForThePrimaryRoleOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		primary string
		code    exit.Code
		web     string
	}{
		"a worker beside a web role":  {"", exit.Partial, "shop-web-v2"},
		"a worker that is everything": {"primary_role: job\n", exit.BarrierClosed, "shop-web-v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(c.primary)
			if c.primary != "" {
				w.replace("  web: [vm1, vm2]", "  web: {hosts: [vm1, vm2], proxy: true}")
				w.replace("    hosts: [vm3]", "    hosts: [vm3]\n    proxy: false")
			}
			w.replace("    healthcheck: {cmd: \"true\"}\n", "    healthcheck: {settle: 3s}\n")
			w.deploy("v1")
			// barrier-wait counts the restarts from its first look on, and follows the
			// engine's events after it.
			var started, followed atomic.Bool
			var dies sync.Once
			w.on = func(op host.Op) {
				switch {
				case op.Host != "vm3":
				case strings.HasSuffix(op.Name, "/start"):
					started.Store(true)
				case started.Load() && op.Name == "GET /events":
					followed.Store(true)
				case followed.Load() && op.Name == "GET /containers/{}/json":
					dies.Do(func() { w.hosts["vm3"].Engine.Crash("shop-job-v2", 4) })
				}
			}
			_, stderr := w.exits(c.code, w.deployArgs("v2")...)
			if strings.Contains(stderr, "is live") || !strings.Contains(stderr, "shop-job-v2") {
				t.Errorf("it does not name what died:\n%s", stderr)
			}
			if got := w.runsOn("vm3"); !slices.Equal(got, []string{"shop-job-v1"}) {
				t.Errorf("got %q running, want the old worker alone", got)
			}
			if got := w.runsOn("vm1"); !slices.Contains(got, c.web) || len(got) != 2 {
				t.Errorf("got %q running, want %s and the proxy", got, c.web)
			}
		})
	}
}

func TestCutover_MovesBackFromAContainerThatDiesUnderTraffic(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.replace("drain: 10ms", "drain: 1s")
			w.deploy("v1")
			var moved atomic.Bool
			var dies sync.Once
			w.on = func(op host.Op) {
				switch {
				case op.Host != "vm1":
				case op.Name == "write" && (strings.Contains(op.Path, "/proxy/routes/") || path.Base(op.Path) == "cord"):
					moved.Store(true)
				case moved.Load() && op.Kind == host.KindRun: // It looks whether the old one still has requests.
					dies.Do(func() { w.hosts["vm1"].Engine.Crash("shop-web-v2", 139) })
				}
			}
			_, stderr := w.exits(exit.Partial, w.deployArgs("v2")...)
			if !strings.Contains(stderr, "moved traffic back to shop-web-v1") || strings.Contains(stderr, "is live") {
				t.Errorf("it is not told where the traffic is:\n%s", stderr)
			}
			if _, body := w.get("vm1"); !strings.Contains(body, "v1") {
				t.Errorf("vm1 answers %q, want the old version", body)
			}
		})
	}
}

func TestPrune_EndsNoDeployWhoseContainersHaveDied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host, container string
		restart         bool
	}{
		"a worker that its policy starts again": {"vm3", "shop-job-v2", true},
		"a web container":                       {"vm2", "shop-web-v2", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append("retain: 1\n")
			w.deploy("v0")
			w.deploy("v1")
			w.behave("v2", hosttest.Behaviour{Log: []string{"out of luck"}})
			w.stages("v2", "assets", "env-push", "boot", "barrier-wait", "cutover")
			w.hosts[c.host].Engine.Crash(c.container, 4)
			_, stderr := w.exits(exit.Partial, "prune")
			for _, want := range []string{c.container, "out of luck", "nothing was removed", "kstep rollback"} {
				if !strings.Contains(stderr, want) {
					t.Errorf("the output lacks %q:\n%s", want, stderr)
				}
			}
			if got := w.state("prune")["exitCode"]; got != 12.0 {
				t.Errorf("prune.json says exit code %v, want 12", got)
			}
			if past := strings.Replace(c.container, "v2", "v0", 1); w.containersOf(c.host)[past].ID == "" {
				t.Errorf("%s was removed", past)
			}
			w.exits(exit.OK, "rollback") // What is needed is there, and the lease is free.
			w.serves("v1")
		})
	}
}

func TestPrune_ReportsADeathOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.stages("v2", "assets", "env-push", "boot", "barrier-wait", "cutover")
	w.hosts["vm3"].Engine.Crash("shop-job-v2", 4)
	w.exits(exit.Partial, "prune")
	w.until("the worker runs again", func() bool { return slices.Contains(w.runsOn("vm3"), "shop-job-v2") })
	w.exits(exit.OK, "prune")
	w.hosts["vm3"].Engine.Crash("shop-job-v2", 4)
	w.exits(exit.OK, "prune") // The deploy was over before.
	w.until("the worker runs again", func() bool { return slices.Contains(w.runsOn("vm3"), "shop-job-v2") })
	// One that restarted long ago is no failure of the next release, which keeps it.
	w.exits(exit.OK, "redeploy", "--image", w.registry.Host()+"/acme/shop:v2", "--version", "v2")
}

// until waits for a state.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A pipeline that stood still while a newer one replaced its containers does not
// take that for their failure.
func TestLasting_WhatANewerReleaseReplacedHasNotFailed(t *testing.T) {
	t.Parallel()
	const look = "GET /containers/{}/json"
	var stopped atomic.Bool
	for stage, at := range map[string]func(host.Op) bool{
		"prune":   func(op host.Op) bool { return op.Name == look },
		"cutover": func(op host.Op) bool { return stopped.Load() && op.Name == look },
	} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("lease: {ttl: 3s}\nretain: 1\n")
			w.deploy("v1")
			older, newer := w.job(), w.job()
			older.must(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
			for _, before := range []string{"assets", "env-push", "boot", "barrier-wait", "cutover"} {
				if before == stage {
					break
				}
				older.must(exit.OK, before)
			}
			freezer := newFreezer(at)
			older.around = func(ctx context.Context, op host.Op, next func(context.Context) error) error {
				if stage == "cutover" && strings.HasSuffix(op.Name, "/stop") {
					defer stopped.Store(true)
				}
				return freezer.around(ctx, op, next)
			}
			ended := make(chan exit.Code)
			var said string
			go func() {
				code, out := older.run(stage)
				said = out
				ended <- code
			}()
			<-freezer.frozen
			newer.must(exit.OK, w.deployArgs("v3", "--wait", "1m")...)
			before := w.running()
			close(freezer.thaw)
			if code := <-ended; code != exit.LeaseHeld && code != exit.BadState {
				t.Errorf("got exit code %d, want 20 or 13:\n%s", code, said)
			}
			for _, wrong := range []string{"does not work any more", "has failed", "was removed after"} {
				if strings.Contains(said, wrong) {
					t.Errorf("it says %q:\n%s", wrong, said)
				}
			}
			if after := w.running(); !maps.EqualFunc(before, after, slices.Equal) {
				t.Errorf("then %v runs, want %v", after, before)
			}
			w.serves("v3")
		})
	}
}

// A deploy that stands still at its last look, while another one deploys, does
// not say that its version is live.
func TestDeploy_ThatWasReplacedAtItsLastLookSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("lease: {ttl: 3s}\n")
	w.deploy("v1")
	older, newer := w.job(), w.job()
	freezer := newFreezer(func(op host.Op) bool {
		_, err := os.Stat(filepath.Join(older.state, "prune.json"))
		return err == nil && op.Kind == host.KindEngine
	})
	older.around = freezer.around
	ended := make(chan exit.Code)
	var said string
	go func() {
		code, out := older.run(w.deployArgs("v2")...)
		said = out
		ended <- code
	}()
	<-freezer.frozen
	newer.must(exit.OK, w.deployArgs("v3", "--wait", "1m")...)
	close(freezer.thaw)
	if code := <-ended; code != exit.BadState || strings.Contains(said, "is live on") || !strings.Contains(said, "shop@v2 was live, and version v3 has replaced it on vm1 since") {
		t.Errorf("got exit code %d:\n%s", code, said)
	}
	w.serves("v3")
}

// An application that ends once, because its database is not there yet, and is well
// when it is started again, was never ready before that: it is deployed. One that ends
// between the barrier and the cutover is not.
func TestCutover_CountsTheRestartsSinceTheBarrierOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after string // The stage after which the container ends once.
		code  exit.Code
		web   string
	}{
		"before the barrier": {"boot", exit.OK, "v2"},
		"after it":           {"barrier-wait", exit.Failed, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.pushed("v2")
			for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
				w.exits(exit.OK, stage)
				if stage == c.after {
					w.hosts["vm1"].Engine.Crash("shop-web-v2", 1)
					w.until("shop-web-v2 is started again", func() bool { return w.containersOf("vm1")["shop-web-v2"].State == "running" })
				}
			}
			w.exits(c.code, "cutover")
			w.serves(c.web)
		})
	}
}
