package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// database makes v2 a version that needs a database, which is down until the
// test brings it up.
func (w *world) database() (up func()) {
	w.t.Helper()
	w.replace("barrier: {timeout: 20s}", "barrier: {timeout: 4s}")
	var isUp atomic.Bool
	w.behave("v2", hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			if !isUp.Load() {
				http.Error(out, "no database", http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(out, "version v2") // The client notices.
		})
	}})
	return func() { isUp.Store(true) }
}

func TestBarrier_ThatClosedLooksAgainWhenItsJobIsRunAgain(t *testing.T) {
	t.Parallel()
	for name, again := range map[string][]string{
		"the stage":        {"barrier-wait", "cutover", "prune"},
		"the whole deploy": {"deploy"},
		"from boot on":     {"boot", "barrier-wait", "cutover", "prune"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			up := w.database()
			w.stages("v2", "assets", "env-push", "boot")
			for range 2 { // The cause is still there.
				_, stderr := w.exits(exit.BarrierClosed, "barrier-wait")
				if !strings.Contains(stderr, "503") || !strings.Contains(stderr, "run the same command again") {
					t.Errorf("it does not tell why, and what to do:\n%s", stderr)
				}
				w.serves("v1")
				if got := w.runsOn("vm1"); len(got) != 2 { // The proxy and the old one.
					t.Errorf("%q run on vm1, want the new container stopped", got)
				}
			}
			up()
			for _, stage := range again {
				args := []string{stage}
				if stage == "deploy" {
					args = w.deployArgs("v2")
				}
				w.exits(exit.OK, args...)
			}
			w.serves("v2")
		})
	}
}

func TestBarrier_OfAReleaseThatWasAbortedStaysClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	up := w.database()
	w.stages("v2", "assets", "env-push", "boot")
	w.exits(exit.BarrierClosed, "barrier-wait")
	w.exits(exit.OK, "abort")
	up()
	if code, _, stderr := w.kstep("barrier-wait"); code == exit.OK || strings.Contains(stderr, "again") && strings.Contains(stderr, "started") {
		t.Errorf("barrier-wait after an abort ends with %d:\n%s", code, stderr)
	}
	w.serves("v1")
}

// A pipeline whose stage failed does not keep the next commit waiting, and is
// refused once that has begun.
func TestLease_OfAPipelineThatFailedLetsANewerOneIn(t *testing.T) {
	t.Parallel()
	stages := []string{"assets", "env-push", "boot", "barrier-wait"}
	for i, failing := range stages {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			older, newer := w.job(), w.job()
			older.must(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
			for _, stage := range stages[:i] {
				older.must(exit.OK, stage)
			}
			w.hook("pre-"+failing, "echo CI is red; exit 1")
			older.must(exit.Failed, failing)
			w.hook("pre-"+failing, "")
			newer.must(exit.OK, w.deployArgs("v3")...)
			w.serves("v3")
			if code, out := older.run(failing); code != exit.BadState && code != exit.LeaseHeld {
				t.Errorf("the older pipeline goes on with %d:\n%s", code, out)
			}
			w.serves("v3")
		})
	}
}

func TestLease_OfAStageThatFailedIsTakenUpByItsOwnRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.stages("v2", "assets")
	w.hook("pre-env-push", "exit 1")
	w.exits(exit.Failed, "env-push")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "parked by release ") {
		t.Errorf("the lease is %s", stdout)
	}
	w.hook("pre-env-push", "")
	w.exits(exit.OK, "env-push")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "held by release ") {
		t.Errorf("the lease is %s", stdout)
	}
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v2")
}
