package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/ledger"
)

// pool connects to the hosts beside kstep.
func (w *world) pool() *host.Pool {
	w.t.Helper()
	return hosttest.Pool(w.t, slices.Collect(maps.Values(w.hosts))...)
}

// standing is what an abort must leave as it was: the running containers, and
// the releases in the ledger, of each host.
func (w *world) standing(pool *host.Pool) map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for name, fake := range w.hosts {
		h, err := pool.Get(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		containers, err := h.Engine().Containers(w.t.Context(), engine.Filter{Labeled: []string{engine.LabelService}})
		if err != nil {
			w.t.Fatal(err)
		}
		var running []string
		for _, c := range containers {
			running = append(running, c.Name)
		}
		slices.Sort(running)
		book, err := ledger.Read(w.t.Context(), h.Files(), filepath.Join(fake.Home, ".kstep", "shop", "ledger.json"))
		if err != nil {
			w.t.Fatal(err)
		}
		var releases []string
		for _, r := range book.Releases {
			if len(r.Live) == 0 {
				continue // Never served, or was aborted.
			}
			releases = append(releases, r.Version)
		}
		found[name] = fmt.Sprint(running, releases)
	}
	return found
}

// killed runs a command whose process dies before its operation k: nothing
// after that reaches a host, and nothing is written. It reports whether there
// were that many.
func (w *world) killed(k int, args ...string) bool {
	w.t.Helper()
	var count atomic.Int64
	return w.killedAt(func(op host.Op) bool {
		return op.Kind != host.KindConnect && op.Kind != host.KindDial && count.Add(1) > int64(k)
	}, args...)
}

// killedAt is killed, before the first operation of that kind.
func (w *world) killedAt(at func(host.Op) bool, args ...string) bool {
	w.t.Helper()
	dir := filepath.Join(w.dir, "kstep-state")
	last := filepath.Join(w.t.TempDir(), "state") // As the dead process leaves it.
	ctx, die := context.WithCancel(w.t.Context())
	defer die()
	var over atomic.Bool
	var once sync.Once
	dead := func(ctx context.Context, op host.Op, next func(context.Context) error) error {
		if over.Load() || at(op) {
			over.Store(true)
			once.Do(func() {
				if err := os.CopyFS(last, os.DirFS(dir)); err != nil {
					w.t.Error(err)
				}
			})
			die()
			return errors.New("the process is dead")
		}
		return next(ctx)
	}
	var out bytes.Buffer
	p := &program{
		env:    func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
		stdout: &out, stderr: &out, around: dead,
	}
	p.run(ctx, append(args, "--config", filepath.Join(w.dir, "kstep.yml"), "--state-dir", dir))
	if !over.Load() {
		return false
	}
	w.forget()
	if err := os.CopyFS(dir, os.DirFS(last)); err != nil {
		w.t.Fatal(err)
	}
	return true
}

// hammer sends requests to both web hosts until it is stopped. Then it returns
// what failed.
func (w *world) hammer(pool *host.Pool) (stop func() (sent int, failed []string)) {
	ctx, cancel := context.WithCancel(w.t.Context())
	type count struct {
		sent   int
		failed []string
	}
	counts := make(chan count)
	for _, name := range []string{"vm1", "vm2"} {
		h, err := pool.Get(ctx, name)
		if err != nil {
			w.t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, "tcp", "127.0.0.1:80") },
		}}
		go func() {
			var c count
			for ctx.Err() == nil {
				resp, err := client.Get("http://" + name + "/")
				c.sent++
				if err != nil {
					c.failed = append(c.failed, err.Error())
					continue
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					c.failed = append(c.failed, fmt.Sprintf("%s: %d %v", name, resp.StatusCode, err))
				}
				time.Sleep(2 * time.Millisecond) // The machine is also the hosts'.
			}
			counts <- c
		}()
	}
	return func() (sent int, failed []string) {
		cancel()
		for range 2 {
			c := <-counts
			sent += c.sent
			failed = append(failed, c.failed...)
		}
		return sent, failed
	}
}

// switches are the two ways to move traffic.
func switches() map[string]string {
	return map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n"}
}

func TestAbort_LeavesTheOldVersionWhereverTheReleaseStopped(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": ""} { // The cord is in the tests below.
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v0")
			w.deploy("v1")
			pool := w.pool()
			before := w.standing(pool)
			stop := w.hammer(pool)
			for i, last := range stageNames()[1:7] {
				version := fmt.Sprintf("v2-%d", i)
				w.pushed(version)
				for _, stage := range stageNames()[2 : i+2] {
					w.exits(exit.OK, stage)
				}
				if last == "cutover" { // All hosts moved is done, not half done.
					stdout, stderr := w.exits(exit.OK, "abort")
					if !strings.Contains(stdout+stderr, "is complete") {
						t.Errorf("a complete release is not called so:\n%s%s", stdout, stderr)
					}
					w.serves(version)
					break
				}
				w.exits(exit.OK, "abort")
				w.stands(pool, "after "+last, before)
				w.exits(exit.OK, "abort")
				if got := w.state("abort")["status"]; got != "unchanged" {
					t.Errorf("abort run again after %s says %v, want unchanged", last, got)
				}
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

// stands expects the hosts as they were, and the lease free.
func (w *world) stands(pool *host.Pool, when string, want map[string]string) {
	w.t.Helper()
	if got := w.standing(pool); !maps.Equal(got, want) {
		w.t.Errorf("%s the hosts have\n%v, want\n%v", when, got, want)
	}
	w.serves("v1")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		w.t.Errorf("%s the lease is not free: %s", when, stdout)
	}
}

// sources are the ways an abort knows the release: by its state files, by their
// copy on the hosts, or by nothing but what it observes.
func sources() [][]string {
	return [][]string{{"abort"}, {"abort", "--state-from", "hosts"}, {"abort", "--resume"}}
}

func TestAbort_GoesBackFromEveryPointOfACutover(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v0")
			w.replicas(extra, "2")
			w.deploy("v1")
			w.replicas(extra, "3")
			pool := w.pool()
			before := w.standing(pool)
			stop := w.hammer(pool)
			complete := false
			for k := 1; !complete && !t.Failed(); k += abortStride {
				w.ready(fmt.Sprintf("v2-%d", k))
				w.killed(k, "cutover")
				command := sources()[k%3]
				if len(command) > 1 {
					w.forget()
				}
				if complete = w.aborted(fmt.Sprintf("v2-%d", k), command...); complete {
					break
				}
				w.stands(pool, fmt.Sprintf("killed before operation %d", k), before)
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

// aborted aborts a version, and reports whether it was complete. Where it has the
// traffic on every host, the first attempt must be refused.
func (w *world) aborted(version string, command ...string) (complete bool) {
	w.t.Helper()
	code, stdout, stderr := w.kstep(command...)
	if code == exit.Usage {
		w.serves(version)
		if !strings.Contains(stderr, "--yes") {
			w.t.Errorf("the refusal does not name --yes:\n%s", stderr)
		}
		command = append(command, "--yes")
		code, stdout, stderr = w.kstep(command...)
	}
	if code != exit.OK {
		w.t.Fatalf("kstep %s: exit code %d\n%s%s", strings.Join(command, " "), code, stdout, stderr)
	}
	complete = strings.Contains(stderr, "is complete") || strings.Contains(stderr, "no release is under way")
	if complete {
		w.serves(version)
		if w.t.Failed() {
			w.t.Logf("kstep %s said:\n%s", strings.Join(command, " "), stderr)
		}
	}
	return complete
}

// abortStride is the distance of the operations at which processes are killed,
// and no multiple of the number of sources.
const abortStride = 23

// ready takes a release to the point where it can be cut over.
func (w *world) ready(version string) {
	w.t.Helper()
	w.pushed(version)
	for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
		w.exits(exit.OK, stage)
	}
}

func TestAbort_CanBeKilledAnywhereAndRunAgain(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"cord": switches()["cord"]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			pool := w.pool()
			before := w.standing(pool)
			stop := w.hammer(pool)
			for k, more := 1, true; more; k += abortStride {
				w.ready(fmt.Sprintf("v2-%d", k))
				w.exits(exit.OK, "cutover", "--hosts", "vm1,vm3")
				more = w.killed(k, "abort")
				w.exits(exit.OK, "abort")
				w.stands(pool, fmt.Sprintf("killed before operation %d", k), before)
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestAbort_OfAFirstDeployLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.ready("v1")
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.exits(exit.OK, "abort")
			for host, got := range w.standing(w.pool()) {
				if got != "[] []" {
					t.Errorf("%s has %s, want nothing", host, got)
				}
			}
			if status, body := w.get("vm1"); status == http.StatusOK {
				t.Errorf("vm1 still answers %d %q", status, body)
			}
			w.deploy("v2") // Nothing is in the way.
			w.serves("v2")
		})
	}
}

func TestAbort_OfARollbackTakesTheOldestVersionDownAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v0")
	w.deploy("v1")
	pool := w.pool()
	before := w.standing(pool)
	w.pushed("v0", "--new-release")
	for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
		w.exits(exit.OK, stage)
	}
	w.exits(exit.OK, "cutover", "--roles", "web")
	w.forget()
	w.exits(exit.OK, "abort", "--yes") // The containers have the first release's labels.
	w.stands(pool, "after the abort of a rollback", before)
}

func TestAbort_LetsTheSameReleaseBootAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("x-none: {}\n")
	w.deploy("v1")
	w.ready("v2")
	w.exits(exit.OK, "abort")
	if code, _, _ := w.kstep("cutover"); code == exit.OK {
		t.Error("an aborted release was cut over")
	}
	w.serves("v1")
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v2")
}

func TestAbort_RemovesWhatWaitedForTheBarrier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("cmd: work hard", "cmd: work hard\n    start: after-barrier")
	w.deploy("v1")
	pool := w.pool()
	before := w.standing(pool)
	w.ready("v2")
	w.exits(exit.OK, "abort")
	w.stands(pool, "after barrier-wait", before)
	if code, _, stderr := w.kstep("cutover", "--roles", "job"); code == exit.OK {
		t.Errorf("the aborted job was started:\n%s", stderr)
	}
	w.ready("v3")
	w.exits(exit.OK, "cutover", "--roles", "web", "--hosts", "vm1") // The job follows the primary role.
	w.exits(exit.OK, "cutover", "--roles", "job")
	w.exits(exit.OK, "abort")
	w.stands(pool, "after the cutover of the job", before)
	w.exits(exit.BarrierClosed, "cutover", "--roles", "job") // It has a file of its own that says done.
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		w.exits(exit.OK, stage)
	}
	w.serves("v3")
}

func TestAbort_HasNothingToDo(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*world){
		"where nothing was ever deployed": func(*world) {},
		"after a release that is done":    func(w *world) { w.deploy("v1") },
		"after one that is done, without state": func(w *world) {
			w.deploy("v1")
			w.forget()
		},
		"in a pipeline that only pushed, while another deploys": func(w *world) {
			w.deploy("v1")
			w.pushed("v2")
			pushed := w.keep("pushed")
			w.stages("v3", "assets", "env-push", "boot")
			w.forget()
			if err := os.Rename(pushed, filepath.Join(w.dir, "kstep-state")); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			prepare(w)
			pool := w.pool()
			before := w.standing(pool)
			stdout, stderr := w.exits(exit.OK, "abort")
			if !strings.Contains(stdout+stderr, "nothing to abort") {
				t.Errorf("it does not say so:\n%s%s", stdout, stderr)
			}
			if got := w.standing(pool); !maps.Equal(got, before) {
				t.Errorf("the hosts have\n%v, want\n%v", got, before)
			}
		})
	}
}

func TestAbort_WithoutStateLeavesAnotherRunsReleaseAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_SERVER_URL"], w.env["GITHUB_REPOSITORY"] = "true", "https://git.example", "acme/shop"
	w.env["GITHUB_RUN_ID"] = "1"
	w.stages("v2", "assets", "env-push", "boot")
	w.forget()
	w.env["GITHUB_RUN_ID"] = "2"
	_, stderr := w.exits(exit.LeaseHeld, "abort")
	if !strings.Contains(stderr, "--release") {
		t.Errorf("the message has no remedy:\n%s", stderr)
	}
	w.env["GITHUB_RUN_ID"] = "1"
	w.exits(exit.OK, "abort")
	w.serves("v1")
}

func TestAbort_GoesBackWhereItCanWhenAHostIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.ready("v2")
	w.exits(exit.OK, "cutover", "--hosts", "vm1")
	w.hosts["vm2"].Engine.SetDown(true)
	w.exits(exit.Partial, "abort")
	w.hosts["vm2"].Engine.SetDown(false)
	w.exits(exit.OK, "abort")
	w.serves("v1")
}
