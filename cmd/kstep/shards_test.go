package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
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
	"github.com/kstep/kstep/internal/ledger"
)

// shared has two roles on one host, so that two shards meet there.
const shared = `servers:
  web: [vm1, vm2]
  job:
    hosts: [vm1, vm3]
    cmd: work hard
`

// share lets two roles meet on vm1.
func (w *world) share() {
	w.t.Helper()
	w.replace("servers:\n  web: [vm1, vm2]\n  job:\n    hosts: [vm3]\n    cmd: work hard\n", shared)
}

// matrix is what `kstep matrix` prints for GitHub.
func (w *world) matrix(args ...string) []shard {
	w.t.Helper()
	stdout, _ := w.exits(exit.OK, append([]string{"matrix"}, args...)...)
	var m struct{ Include []shard }
	if err := json.Unmarshal([]byte(stdout), &m); err != nil {
		w.t.Fatalf("%v: %s", err, stdout)
	}
	return m.Include
}

// fetch copies the state files of other jobs to the runner, as CI systems copy
// artifacts.
func (j *job) fetch(from ...*job) *job {
	j.w.t.Helper()
	for _, other := range from {
		files, err := filepath.Glob(filepath.Join(other.state, "*.json"))
		if err != nil {
			j.w.t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				j.w.t.Fatal(err)
			}
			if err := os.MkdirAll(j.state, 0o755); err != nil {
				j.w.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(j.state, filepath.Base(file)), data, 0o600); err != nil {
				j.w.t.Fatal(err)
			}
		}
	}
	return j
}

// pushedBy is a runner that has pushed a version.
func (w *world) pushedBy(version string) *job {
	w.t.Helper()
	j := w.job()
	j.must(exit.OK, "push", "--image", w.image(version), "--version", version)
	return j
}

// fanOut runs a stage as parallel jobs, each on a runner of its own that has
// the files of the jobs before, and returns the runners.
func (w *world) fanOut(stage string, shards []shard, before []*job) []*job {
	w.t.Helper()
	jobs := make([]*job, len(shards))
	codes, outs := make([]exit.Code, len(shards)), make([]string, len(shards))
	var wg sync.WaitGroup
	for i, s := range shards {
		jobs[i] = w.job().fetch(before...)
		wg.Go(func() { codes[i], outs[i] = jobs[i].run(stage, "--roles", s.Roles, "--hosts", s.Hosts) })
	}
	wg.Wait()
	for i, code := range codes {
		if code != exit.OK {
			w.t.Fatalf("%s of %s: exit code %d\n%s", stage, shards[i].Name, code, outs[i])
		}
	}
	return jobs
}

func TestShards_AStageFannedOutDoesWhatItDoesAtOnce(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"host", "role"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.share()
			w.deploy("v1")
			shards := w.matrix("--by", by, "--limit", "1")
			jobs := []*job{w.pushedBy("v2")}
			for _, stage := range pipeline()[2:] {
				jobs = append(jobs, w.fanOut(stage.Info().Name, shards, jobs)...)
			}
			w.serves("v2")
			for name, want := range map[string][]string{"vm1": {"job v2", "web v2"}, "vm2": {"web v2"}, "vm3": {"job v2"}} {
				if got := w.versions(name); !slices.Equal(got, want) {
					t.Errorf("%s runs %v, want %v", name, got, want)
				}
			}
			vm1 := w.hosts["vm1"]
			book, err := ledger.Read(t.Context(), vm1.Connect(t).Files(), filepath.Join(vm1.Home, ".kstep/shop/ledger.json"))
			if err != nil || book.Live("web") == nil || book.Live("job") == nil {
				t.Errorf("got ledger %+v, %v, want both roles of vm1 in it", book, err)
			}
			newest := book.Releases[len(book.Releases)-1]
			if newest.Version != "v2" || len(newest.Live) != 2 {
				t.Errorf("got %+v, want web and job of v2", newest)
			}
			if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
				t.Errorf("after the last shard of prune the lease is %q, want free", stdout)
			}
		})
	}
}

func TestShards_ThePruneOfOneLeavesTheLeaseToTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := []*job{w.pushedBy("v1")}
	for _, stage := range pipeline()[2:7] {
		jobs = append(jobs, w.fanOut(stage.Info().Name, []shard{{Roles: "*", Hosts: "*"}}, jobs)...)
	}
	w.job().fetch(jobs...).must(exit.OK, "prune", "--roles", "web")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "held") {
		t.Errorf("the lease is %q, want it held for the job role's prune", stdout)
	}
	w.job().fetch(jobs...).must(exit.OK, "prune", "--roles", "job")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		t.Errorf("the lease is %q, want free", stdout)
	}
}

func TestShards_ALateOneDoesNotTakeTheLeaseAgainThatTheLastOneFreed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := []*job{w.pushedBy("v1")}
	for _, stage := range pipeline()[2:7] {
		jobs = append(jobs, w.fanOut(stage.Info().Name, []shard{{Roles: "*", Hosts: "*"}}, jobs)...)
	}
	late := w.job().fetch(jobs...)
	freezer := newFreezer(func(op host.Op) bool { // It is done, and about to see who else is.
		return op.Name == "list" && strings.Contains(op.Path, "/done/")
	})
	late.around = freezer.around
	ended := make(chan string)
	go func() {
		code, out := late.run("prune", "--roles", "web")
		ended <- fmt.Sprintf("exit code %d\n%s", code, out)
	}()
	<-freezer.frozen
	w.job().fetch(jobs...).must(exit.OK, "prune", "--roles", "job")
	time.Sleep(2500 * time.Millisecond) // What it knows of its lease is out of date.
	close(freezer.thaw)
	if said := <-ended; !strings.HasPrefix(said, "exit code 0\n") {
		t.Errorf("the late one ends with %s", said)
	}
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		t.Errorf("the lease is %q, want free", stdout)
	}
}

func TestShards_TargetsThatAreMissingAreNamedWithTheCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := []*job{w.pushedBy("v1")}
	for _, stage := range []string{"assets", "env-push"} {
		jobs = append(jobs, w.fanOut(stage, []shard{{Roles: "web", Hosts: "*"}}, jobs)...)
	}
	out := w.job().fetch(jobs...).must(exit.MissingState, "boot")
	for _, want := range []string{"job@vm3", "kstep assets --hosts vm3 --roles job"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not name %q:\n%s", want, out)
		}
	}
}

// booted brings a version up to boot, in shards by role.
func (w *world) booted(version string) []*job {
	w.t.Helper()
	jobs := []*job{w.pushedBy(version)}
	roles := w.matrix("--by", "role")
	for _, stage := range []string{"assets", "env-push", "boot"} {
		jobs = append(jobs, w.fanOut(stage, roles, jobs)...)
	}
	return jobs
}

func (j *job) verdict(shardName string) map[string]any {
	j.w.t.Helper()
	data, err := os.ReadFile(filepath.Join(j.state, "barrier-wait."+shardName+".json"))
	if err != nil {
		j.w.t.Fatal(err)
	}
	var file struct {
		Outputs struct{ Verdict map[string]any }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		j.w.t.Fatal(err)
	}
	return file.Outputs.Verdict
}

func TestBarrier_IsDecidedOnceForJobsInAnyOrder(t *testing.T) {
	t.Parallel()
	for quorum, order := range map[string][]string{"1": {"web", "job"}, "all": {"job", "web"}, "50%": {"job", "web"}} {
		t.Run(quorum+" "+order[0]+" first", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("barrier: {timeout: 20s}", `barrier: {timeout: 20s, quorum: "`+quorum+`"}`)
			jobs := w.booted("v1")
			var at []any
			for _, role := range order {
				j := w.job().fetch(jobs...)
				j.must(exit.OK, "barrier-wait", "--roles", role)
				v := j.verdict(role)
				if v["open"] != true {
					t.Errorf("%s found %v, want an open barrier", role, v)
				}
				at = append(at, v["at"])
			}
			if at[0] != at[1] {
				t.Errorf("got two verdicts, of %v", at)
			}
		})
	}
}

func TestBarrier_ThatAnotherJobClosesStopsTheWaitingRole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		artifacts bool
		order     []string
	}{
		"with each other's files, job first": {true, []string{"job", "web"}},
		"without, web only":                  {false, []string{"web"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			var mended atomic.Bool
			w.behave("v2", hosttest.Behaviour{Handler: func(p hosttest.Process) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if !mended.Load() {
						sick(p).ServeHTTP(rw, r)
						return
					}
					_, _ = rw.Write([]byte("v2"))
				})
			}})
			jobs := w.booted("v2")
			for _, role := range c.order {
				j := w.job()
				for _, from := range jobs {
					if c.artifacts || !from.has("boot."+other(role)+"-*.json") {
						j.fetch(from)
					}
				}
				j.must(exit.BarrierClosed, "barrier-wait", "--roles", role)
			}
			if got := w.versions("vm3"); !slices.Equal(got, []string{"job v1"}) {
				t.Errorf("vm3 runs %v, want only job v1", got)
			}
			if got := w.versions("vm1"); !slices.Equal(got, []string{"web v1"}) {
				t.Errorf("vm1 runs %v, want only web v1", got)
			}
			w.serves("v1")
			mended.Store(true)
			for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} { // Repaired: the same release goes on.
				jobs = append(jobs, w.fanOut(stage, w.matrix("--by", "role"), jobs)...)
			}
			w.serves("v2")
		})
	}
}

func other(role string) string {
	if role == "web" {
		return "job"
	}
	return "web"
}

// has reports whether the runner has a file of this name.
func (j *job) has(pattern string) bool {
	found, err := filepath.Glob(filepath.Join(j.state, pattern))
	return err == nil && len(found) > 0
}

func TestBarrier_WithoutThePrimaryRolesFilesWaitsForItsJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	jobs := w.booted("v1")
	waiting, deciding := w.job(), w.job().fetch(jobs...)
	for _, from := range jobs {
		if !from.has("boot.web-*.json") {
			waiting.fetch(from)
		}
	}
	var wg sync.WaitGroup
	var code exit.Code
	var out string
	wg.Go(func() { code, out = waiting.run("barrier-wait", "--roles", "job") })
	deciding.must(exit.OK, "barrier-wait", "--roles", "web")
	wg.Wait()
	if code != exit.OK {
		t.Errorf("the job role's job ends with %d, want 0\n%s", code, out)
	}

	w.exits(exit.OK, "lock", "release", "--force")
	w.replace("barrier: {timeout: 20s}", "barrier: {timeout: 3s}")
	jobs = w.booted("v2")
	alone := w.job()
	for _, from := range jobs {
		if !from.has("boot.web-*.json") {
			alone.fetch(from)
		}
	}
	if out := alone.must(exit.MissingState, "barrier-wait", "--roles", "job"); !strings.Contains(out, "web@vm1, web@vm2") {
		t.Errorf("the output does not name what is missing:\n%s", out)
	}
}

func TestBarrier_ARoleThatStartsAfterItWaitsForItsOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("    cmd: work hard\n", "    cmd: work hard\n    start: after-barrier\n")
	w.deploy("v1")
	jobs := w.booted("v2")
	jobs = append(jobs, w.fanOut("barrier-wait", w.matrix("--by", "role"), jobs)...)
	if got := w.versions("vm3"); !slices.Equal(got, []string{"job v1"}) {
		t.Errorf("before cutover vm3 runs %v, want only job v1", got)
	}
	w.fanOut("cutover", w.matrix("--by", "role"), jobs)
	if got := w.versions("vm3"); !slices.Equal(got, []string{"job v2"}) {
		t.Errorf("after cutover vm3 runs %v, want only job v2", got)
	}
}

func TestMatrix_PrintsWhatCISystemsTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.share()
	for args, want := range map[string]string{
		"--by host":                            `{"include":[{"name":"vm1","roles":"web,job","hosts":"vm1","primary":true},{"name":"vm2","roles":"web","hosts":"vm2","primary":true},{"name":"vm3","roles":"job","hosts":"vm3","primary":false}]}`,
		"--by role":                            `{"include":[{"name":"web","roles":"web","hosts":"vm1,vm2","primary":true},{"name":"job","roles":"job","hosts":"vm1,vm3","primary":false}]}`,
		"--by group --limit 1 --roles web":     `{"include":[{"name":"web-1","roles":"web","hosts":"vm1","primary":true},{"name":"web-2","roles":"web","hosts":"vm2","primary":true}]}`,
		"--by role --format gitlab --hosts *3": `[{"KSTEP_HOSTS":"vm3","KSTEP_ROLES":"job"}]`,
	} {
		stdout, _ := w.exits(exit.OK, append([]string{"matrix"}, strings.Fields(args)...)...)
		if got := strings.TrimSpace(stdout); got != want {
			t.Errorf("matrix %s:\ngot  %s\nwant %s", args, got, want)
		}
	}
	w.exits(exit.Usage, "matrix", "--by", "group", "--limit", "some")
	w.exits(exit.Usage, "matrix", "--roles", "wbe")
}

// A release of which a shard failed keeps no newer one out once none of its jobs is at
// work, whichever of them ends last.
func TestShards_TheLastToLeaveParksTheLeaseOfAReleaseThatFailed(t *testing.T) {
	t.Parallel()
	for _, stage := range []string{"assets", "boot"} {
		for _, last := range []string{"vm1", "vm2"} {
			t.Run(stage+", "+last+" ends last", func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.deploy("v1")
				jobs := []*job{w.pushedBy("v2")}
				for _, s := range pipeline()[2:] {
					if s.Info().Name == stage {
						break
					}
					jobs = append(jobs, w.fanOut(s.Info().Name, []shard{{Roles: "*", Hosts: "*"}}, jobs)...)
				}
				onHost := map[string]*job{"vm1": w.job().fetch(jobs...), "vm2": w.job().fetch(jobs...)}
				full := func(ctx context.Context, op host.Op, next func(context.Context) error) error {
					if op.Host == "vm2" && (op.Name == "write" || strings.HasPrefix(op.Name, "POST ")) {
						return errors.New("no space left on device")
					}
					return next(ctx)
				}
				leaving := newFreezer(func(op host.Op) bool { return op.Name == "remove" && strings.HasSuffix(op.Path, ".working") })
				onHost["vm2"].around = full
				onHost[last].around = func(ctx context.Context, op host.Op, next func(context.Context) error) error {
					return leaving.around(ctx, op, func(ctx context.Context) error {
						if last == "vm2" {
							return full(ctx, op, next)
						}
						return next(ctx)
					})
				}

				ended := make(chan exit.Code)
				go func() {
					code, _ := onHost[last].run(stage, "--hosts", last)
					ended <- code
				}()
				<-leaving.frozen
				first := map[string]string{"vm1": "vm2", "vm2": "vm1"}[last]
				if code, out := onHost[first].run(stage, "--hosts", first); (code == exit.OK) != (first == "vm1") {
					t.Errorf("the shard of %s ends with %d:\n%s", first, code, out)
				}
				w.job().must(exit.LeaseHeld, w.deployArgs("v3")...)
				close(leaving.thaw)
				if code := <-ended; (code == exit.OK) != (last == "vm1") {
					t.Errorf("the shard of %s ends with %d", last, code)
				}
				w.job().must(exit.OK, w.deployArgs("v3")...)
				w.serves("v3")
			})
		}
	}
}

// One that is run again takes the lease back from where a newer release could have had it.
func TestShards_OneThatIsRunAgainGoesOnWithTheRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	jobs := []*job{w.pushedBy("v2")}
	jobs = append(jobs, w.fanOut("assets", []shard{{Roles: "*", Hosts: "*"}}, jobs)...)
	all := []shard{{Roles: "web", Hosts: "vm1"}, {Roles: "web", Hosts: "vm2"}, {Roles: "job", Hosts: "vm3"}}
	again := w.job().fetch(jobs...)
	w.hook("pre-env-push", "exit 1")
	again.must(exit.Failed, "env-push", "--roles", "web", "--hosts", "vm2")
	w.hook("pre-env-push", "")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "parked") {
		t.Errorf("the lease is %q, want parked", stdout)
	}
	jobs = append(jobs, w.fanOut("env-push", all, jobs)...)
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "held") {
		t.Errorf("the lease is %q, want held", stdout)
	}
	for _, stage := range []string{"boot", "barrier-wait", "cutover", "prune"} {
		jobs = append(jobs, w.fanOut(stage, []shard{{Roles: "*", Hosts: "*"}}, jobs)...)
	}
	w.serves("v2")
	if left, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "lease", "shards", "*")); err != nil || len(left) > 0 {
		t.Errorf("left beside the lease: %v, %v", left, err)
	}
}
