package lease

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// scene is two releases' processes at one lease host and one other host.
type scene struct {
	t     *testing.T
	fakes []*hosttest.Fake
}

func newScene(t *testing.T) *scene {
	return &scene{t, []*hosttest.Fake{hosttest.NewFake(t, "vm1"), hosttest.NewFake(t, "vm2")}}
}

// process is one process with its guard, and its own idea of the time.
type process struct {
	*scene
	guard *Guard
	pool  *host.Pool
	hold  *Hold
	sleep time.Duration // How long it stood still in all.
}

func (s *scene) process(release string) *process {
	s.t.Helper()
	p := &process{scene: s, guard: &Guard{}}
	options := hosttest.Options(s.t, s.fakes...)
	options.Intercept = p.guard.Around(nil)
	p.pool = hosttest.NewPool(s.t, options)
	store := Store{Host: "vm1", Files: p.files("vm1"), Dir: p.dir("vm1")}
	got, err := store.Acquire(s.t.Context(), Holder{Release: release, TTL: time.Minute})
	if err != nil {
		s.t.Fatal(err)
	}
	p.hold = NewHold(store, got, time.Now())
	p.hold.clock = func() time.Time { return time.Now().Add(p.sleep) }
	p.guard.Hold(p.hold, func(_ context.Context, name string) (Fence, error) { return p.fence(name), nil })
	return p
}

func (p *process) files(name string) host.Files {
	p.t.Helper()
	h, err := p.pool.Get(p.t.Context(), name)
	if err != nil {
		p.t.Fatal(err)
	}
	return h.Files()
}

func (p *process) fence(name string) Fence {
	return Fence{Files: p.files(name), Dir: p.dir(name) + "/fence"}
}

// dir is a host's lease folder.
func (s *scene) dir(name string) string {
	at := slices.IndexFunc(s.fakes, func(f *hosttest.Fake) bool { return f.Name == name })
	return filepath.Join(s.fakes[at].Home, "run/lease")
}

func (p *process) write(hostName string) error {
	return p.files(hostName).Write(p.t.Context(), "run/file", nil, 0o644)
}

// expire lets all leases there are run out.
func (s *scene) expire() {
	s.t.Helper()
	old := time.Now().Add(-2 * time.Minute)
	files, err := filepath.Glob(filepath.Join(s.fakes[0].Home, "run/lease/*.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Chtimes(file, old, old); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestGuard_RefusesAProcessThatStoodStillWhileAnotherReleaseTookOver(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vm1", "vm2"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			older := s.process("R1")
			if err := older.write(name); err != nil {
				t.Fatal(err)
			}
			s.expire()
			s.process("R2") // Has changed nothing yet: no fence has its token.
			older.sleep = 2 * time.Minute
			if err := older.write(name); exit.CodeOf(err) != exit.LeaseHeld {
				t.Errorf("got %v, want to be fenced off", err)
			}
		})
	}
}

func TestGuard_RefusesByTheHostsMemoryWhenTheLeaseWasFreedByForce(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vm1", "vm2"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			older := s.process("R1")
			if err := older.write(name); err != nil {
				t.Fatal(err)
			}
			if err := older.hold.store.End(t.Context(), older.hold.lease, "ada"); err != nil {
				t.Fatal(err)
			}
			newer := s.process("R2")
			if err := newer.write(name); err != nil {
				t.Fatal(err)
			}
			older.sleep = 3 * time.Second // Far less than the lease lives.
			if err := older.write(name); exit.CodeOf(err) != exit.LeaseHeld {
				t.Errorf("got %v, want to be fenced off", err)
			}
			if err := newer.write(name); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGuard_LetsAProcessGoOnThatStoodStillAndWasNotOvertaken(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.process("R1")
	s.expire()
	p.sleep = 2 * time.Minute
	for range 2 {
		if err := p.write("vm2"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGuard_LetsEverythingBeRead(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	older := s.process("R1")
	s.expire()
	s.process("R2")
	older.sleep = 2 * time.Minute
	if _, err := older.files("vm2").List(t.Context(), "."); err != nil {
		t.Error(err)
	}
}

func TestHold_GoesBeyondFencesThatAnEarlierLeaseHostLeft(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	old := s.process("R1")
	old.hold.lease.Token = 41
	if err := old.fence("vm2").raise(t.Context(), old.hold.lease, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.fakes[0].Home, "run")); err != nil { // The lease host is a new machine.
		t.Fatal(err)
	}
	p := s.process("R2")
	if err := p.write("vm2"); err != nil {
		t.Fatal(err)
	}
	if got := p.hold.now().Token; got <= 41 {
		t.Errorf("got token %d, want one above the host's 41", got)
	}
	if err := p.hold.Check(t.Context(), "vm2", p.fence("vm2")); err != nil {
		t.Error(err)
	}
}

func TestHold_OfAnOlderReleaseDoesNotGoBeyondANewerOnesFence(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.process("R1")
	if err := p.fence("vm2").raise(t.Context(), Lease{Token: 41, Holder: Holder{Release: "R2"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.hold.Check(t.Context(), "vm2", p.fence("vm2")); exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("got %v, want to be fenced off", err)
	}
}

func TestGuard_WritesAFileAgainWhenItStoodStillInTheMiddle(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.process("R1")
	steps := 0
	op := host.Op{Host: "vm2", Kind: host.KindSFTP, Name: "write", Path: "run/file"}
	err := p.guard.intercept(t.Context(), op, func(ctx context.Context) error {
		if steps++; steps == 1 {
			s.expire()
			p.sleep = 2 * time.Minute
		}
		return ctx.Err() // As the last step before a file takes its name.
	})
	if err != nil || steps != 2 {
		t.Errorf("got %v after %d tries, want success at the second", err, steps)
	}
}

func TestReadOnly_LetsReadsPassAndNoChange(t *testing.T) {
	for name, c := range map[string]struct {
		op   host.Op
		pass bool
	}{
		"a connection":      {host.Op{Kind: host.KindConnect}, true},
		"a look at a file":  {host.Op{Kind: host.KindSFTP, Name: "read"}, true},
		"a file":            {host.Op{Kind: host.KindSFTP, Name: "write"}, false},
		"a list":            {host.Op{Kind: host.KindEngine, Name: "GET /containers/json"}, true},
		"a container":       {host.Op{Kind: host.KindEngine, Name: "POST /containers/create"}, false},
		"a command":         {host.Op{Kind: host.KindRun, Name: "sh"}, false},
		"a search":          {host.Op{Kind: host.KindRun, Name: "find"}, true},
		"what nobody knows": {host.Op{Kind: "new"}, false},
	} {
		asked, done := false, false
		outer := func(ctx context.Context, _ host.Op, next func(context.Context) error) error {
			asked = true
			return next(ctx)
		}
		err := ReadOnly(outer)(t.Context(), c.op, func(context.Context) error { done = true; return nil })
		if !asked || done != c.pass || (err == nil) != c.pass {
			t.Errorf("%s: done %t with %v, want %t", name, done, err, c.pass)
		}
	}
}
