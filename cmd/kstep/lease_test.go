package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
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
)

// job is one process of a pipeline, on a runner with a state folder of its own.
type job struct {
	w      *world
	state  string
	around host.Intercept
}

// job makes a runner.
func (w *world) job() *job {
	w.t.Helper()
	return &job{w: w, state: filepath.Join(w.t.TempDir(), "kstep-state")}
}

func (j *job) run(args ...string) (exit.Code, string) {
	var out bytes.Buffer
	p := &program{
		env:    func(name string) (string, bool) { v, ok := j.w.env[name]; return v, ok },
		stdout: &out, stderr: &out, around: j.around,
	}
	args = append(args, "--config", filepath.Join(j.w.dir, "kstep.yml"), "--state-dir", j.state)
	code := p.run(j.w.t.Context(), args)
	return code, out.String()
}

// must expects an exit code.
func (j *job) must(want exit.Code, args ...string) string {
	j.w.t.Helper()
	code, out := j.run(args...)
	if code != want {
		j.w.t.Fatalf("kstep %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

func (w *world) deployArgs(version string, more ...string) []string {
	return append([]string{"deploy", "--image", w.image(version), "--version", version}, more...)
}

// changing reports whether the operation changes what a deploy is about.
// Leases, fences and copies of state are not.
func changing(op host.Op) bool {
	switch op.Kind {
	case host.KindEngine:
		return !strings.HasPrefix(op.Name, "GET ") && !strings.HasPrefix(op.Name, "HEAD ")
	case host.KindSFTP:
		writes := slices.Contains([]string{"write", "create", "append", "remove", "mkdir"}, op.Name)
		return writes && !strings.Contains(op.Path, "/lease/") && !strings.Contains(op.Path, "/state/")
	case host.KindRun:
		return true
	default:
		return false
	}
}

// freezer makes a process stand still, all of it, from an operation on.
type freezer struct {
	at     func(host.Op) bool
	once   sync.Once
	frozen chan struct{}
	thaw   chan struct{}
}

func newFreezer(at func(host.Op) bool) *freezer {
	return &freezer{at: at, frozen: make(chan struct{}), thaw: make(chan struct{})}
}

func (f *freezer) around(ctx context.Context, op host.Op, next func(context.Context) error) error {
	if f.at(op) {
		f.once.Do(func() { close(f.frozen) })
	}
	select {
	case <-f.frozen:
		<-f.thaw
	default:
	}
	return next(ctx)
}

// picture is all files and containers of all hosts.
func (w *world) picture() map[string]string {
	w.t.Helper()
	seen := map[string]string{}
	for name, fake := range w.hosts {
		err := filepath.WalkDir(fake.Home, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			seen[name+":"+path] = string(data)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range w.containers(name) {
			seen[name+":"+c.Name] = fmt.Sprint(c.State, c.Labels)
		}
	}
	return seen
}

func (w *world) containers(hostName string) []engine.Container {
	w.t.Helper()
	all, err := w.hosts[hostName].Look().Containers(w.t.Context(), engine.Filter{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// versions are those of the running containers of a host.
func (w *world) versions(hostName string) []string {
	w.t.Helper()
	var all []string
	for _, c := range w.containers(hostName) {
		if c.Running() && c.Labels[engine.LabelVersion] != "" {
			all = append(all, c.Labels[engine.LabelRole]+" "+c.Labels[engine.LabelVersion])
		}
	}
	slices.Sort(all)
	return all
}

func TestLease_AnOlderPipelineThatWasFrozenChangesNothingAfterANewerOne(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	var waited atomic.Bool
	for name, at := range map[string]func(host.Op) bool{
		"before it moves the traffic": func(op host.Op) bool { return strings.Contains(op.Path, "/proxy/routes/") && op.Name == "write" },
		"before it stops the old one": func(op host.Op) bool { return op.Name == "POST /containers/{}/stop" },
		"while it asks the proxy":     func(op host.Op) bool { return op.Kind == host.KindDial },
		"before it creates one":       func(op host.Op) bool { return op.Name == "POST /containers/create" },
	} {
		w := newWorld(t)
		w.configure("lease: {ttl: 3s}\n")
		w.deploy("v1")
		wg.Go(func() { // All wait for the lease to expire.
			for _, problem := range w.overtake(at, &waited) {
				t.Errorf("frozen %s: %s", name, problem)
			}
		})
	}
	wg.Wait()
	if !waited.Load() { // On a busy machine some find the lease expired.
		t.Error("none of the newer pipelines told that it waits")
	}
}

// overtake freezes a pipeline, lets a newer one deploy, and returns what is wrong
// after the older one went on. waited is set if the newer one reported that it waits.
func (w *world) overtake(at func(host.Op) bool, waited *atomic.Bool) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	older, newer := w.job(), w.job()
	freezer := newFreezer(at)
	older.around = freezer.around
	ended := make(chan exit.Code)
	var said string
	args := w.deployArgs("v2")
	go func() {
		code, out := older.run(args...)
		said = out
		ended <- code
	}()
	<-freezer.frozen
	code, out := newer.run(w.deployArgs("v3", "--wait", "1m")...)
	if code != exit.OK {
		wrong("the newer pipeline ends with %d, want 0\n%s", code, out)
	}
	if strings.Contains(out, "waiting: ") {
		waited.Store(true)
	}
	if want := "took over the expired lease of release"; !strings.Contains(out, want) {
		wrong("the newer pipeline does not tell %q:\n%s", want, out)
	}
	before := w.picture()
	close(freezer.thaw)
	if code := <-ended; code != exit.LeaseHeld {
		wrong("the older pipeline ends with %d, want 20\n%s", code, said)
	}
	after := w.picture()
	// A mark of its own token that was on its way to a host may arrive there: the
	// highest one counts. A file that it had not put in its place may go.
	own := func(what string, _ string) bool {
		return strings.Contains(what, "/lease/fence/") || strings.HasSuffix(what, ".tmp")
	}
	maps.DeleteFunc(before, own)
	maps.DeleteFunc(after, own)
	for what, now := range after {
		if had, ok := before[what]; !ok || had != now {
			wrong("the older pipeline changed %s from %q (there: %t) to %q", what, had, ok, now)
		}
	}
	for what := range before {
		if _, ok := after[what]; !ok {
			wrong("the older pipeline removed %s", what)
		}
	}
	w.serves("v3")
	return problems
}

// span is the time from a process's first change to its last.
type span struct {
	version     string
	first, last time.Time
	code        exit.Code
}

func TestDeploy_OfFiftyVersionsAtOnceEndsInOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v0")
	spans := make([]span, 50)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range spans {
		s := &spans[i]
		s.version = fmt.Sprintf("v%d", i+1)
		args := w.deployArgs(s.version)
		if i%20 == 0 {
			args = append(args, "--wait", "2m")
		}
		j := w.job()
		var mu sync.Mutex
		j.around = func(ctx context.Context, op host.Op, next func(context.Context) error) error {
			began := time.Now()
			err := next(ctx)
			if changing(op) && err == nil {
				mu.Lock()
				defer mu.Unlock()
				if s.first.IsZero() {
					s.first = began
				}
				s.last = time.Now()
			}
			return err
		}
		wg.Go(func() {
			<-start
			var out string
			if s.code, out = j.run(args...); s.code != exit.OK && s.code != exit.LeaseHeld && s.code != exit.BadState {
				t.Errorf("%s ends with %d, want 0, 20 or 21\n%s", s.version, s.code, out)
			}
		})
	}
	close(start)
	wg.Wait()
	var done []span
	for _, s := range spans {
		if changed := !s.first.IsZero(); changed != (s.code == exit.OK) {
			t.Errorf("%s ends with %d, and changed something: %t", s.version, s.code, changed)
		}
		if s.code == exit.OK {
			done = append(done, s)
		}
	}
	if len(done) == 0 {
		t.Fatal("no version was deployed")
	}
	slices.SortFunc(done, func(a, b span) int { return a.first.Compare(b.first) })
	for i := range done[1:] {
		if done[i+1].first.Before(done[i].last) {
			t.Errorf("%s and %s were at work at the same time", done[i].version, done[i+1].version)
		}
	}
	last := done[len(done)-1].version
	w.serves(last)
	for _, name := range slices.Sorted(maps.Keys(w.hosts)) {
		if got := w.versions(name); len(got) != 1 || !strings.HasSuffix(got[0], " "+last) {
			t.Errorf("%s runs %v, want only version %s", name, got, last)
		}
	}
	t.Logf("%d of %d deploys got their turn", len(done), len(spans))
}

func TestLock_KeepsReleasesOutUntilItIsFreed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exits(exit.OK, "lock", "acquire", "-m", "mending the database")
	stdout, _ := w.exits(exit.OK, "lock", "status")
	if !strings.Contains(stdout, "mending the database") {
		t.Errorf("lock status does not tell why:\n%s", stdout)
	}
	_, stderr := w.exits(exit.LeaseHeld, w.deployArgs("v1")...)
	if !strings.Contains(stderr, "mending the database") || !strings.Contains(stderr, "--wait") {
		t.Errorf("the refusal does not tell why, or what to do:\n%s", stderr)
	}
	w.exits(exit.OK, "lock", "release")
	w.deploy("v1")
}

func TestLock_ReleaseRefusesALeaseOfOthersWithoutForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1")
	w.exits(exit.OK, "assets") // Holds it, until prune.
	w.exits(exit.LeaseHeld, "lock", "release")
	w.exits(exit.OK, "lock", "release", "--force")
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
		t.Errorf("got %q, want free", stdout)
	}
}

func TestLock_GoesPastAGarbageFileWithForce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "lease")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00000004.json"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr := w.exits(exit.BadState, w.deployArgs("v1")...)
	if !strings.Contains(stderr, "kstep lock release --force") {
		t.Errorf("the remedy is not told:\n%s", stderr)
	}
	w.exits(exit.BadState, "lock", "release")
	w.exits(exit.OK, "lock", "release", "--force")
	w.deploy("v1")
}

func TestLease_HostThatIsAwayIsUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1")
	w.replace("\n  config: [", "\n  connect_retries: 0\n  connect_timeout: 1s\n  config: [")
	away := w.hosts["vm1"]
	mood := away.Mood()
	mood.Deaf = true
	away.Set(mood)
	w.exits(exit.Unreachable, "assets", "--hosts", "vm2")
}

func TestWithTime_GivesAPlainWaitItsTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, want string }{
		"with a time":          {"deploy --wait 5m --roles web", "deploy --wait 5m --roles web"},
		"with an equals sign":  {"deploy --wait=5m", "deploy --wait=5m"},
		"alone":                {"deploy --wait", "deploy --wait=1h0m0s"},
		"before another flag":  {"deploy --wait --roles web", "deploy --wait=1h0m0s --roles web"},
		"before the command":   {"--wait deploy", "--wait=1h0m0s deploy"},
		"an argument, no flag": {"rollback -- --wait", "rollback -- --wait"},
	} {
		if got := strings.Join(withTime(strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
