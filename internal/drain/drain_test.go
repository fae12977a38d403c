package drain_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/drain"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

const image, network = "registry.test/app:1", "net"

// fixture is a host with a proxy and an application.
type fixture struct {
	*testing.T
	fake       *hosttest.Fake
	h          host.Host
	proxy, app engine.Container
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, fake: hosttest.NewFake(t, "vm1")}
	f.h = f.fake.Connect(t)
	f.fake.Engine.AddImage(image, hosttest.Image{})
	if _, err := f.h.Engine().EnsureNetwork(t.Context(), network, nil); err != nil {
		t.Fatal(err)
	}
	f.proxy, f.app = f.run("proxy"), f.run("app")
	return f
}

func (f *fixture) run(name string) engine.Container {
	f.Helper()
	id, err := f.h.Engine().Create(f.Context(), engine.Spec{Name: name, Image: image, Network: network})
	if err == nil {
		err = f.h.Engine().Start(f.Context(), id)
	}
	if err != nil {
		f.Fatal(err)
	}
	return f.inspect(id)
}

func (f *fixture) inspect(id string) engine.Container {
	f.Helper()
	c, err := f.h.Engine().Inspect(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	return c
}

func (f *fixture) connect(from, to engine.Container) net.Conn {
	f.Helper()
	conn, err := f.fake.Engine.Connect(from.ID, to.ID, 3000)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	return conn
}

// wait drains the application.
func (f *fixture) wait(limit time.Duration) drain.Result {
	f.Helper()
	result, err := drain.Wait(f.Context(), f.h, f.proxy, []engine.Container{f.app}, drain.Bounds{Limit: limit})
	if err != nil {
		f.Fatal(err)
	}
	return result
}

// forever is a limit that no test reaches.
const forever = time.Minute

// ways are the ways in which a host lets connections be seen.
func ways() map[string]hosttest.Mood {
	return map[string]hosttest.Mood{
		"by a command":       {},
		"by reads over SFTP": {NoCommands: true},
	}
}

// eachWay runs a test in every way.
func eachWay(t *testing.T, test func(f *fixture)) {
	t.Helper()
	for name, mood := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.fake.Set(mood)
			test(f)
		})
	}
}

func TestWait_EndsAtTheFirstLookWithoutConnections(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		if got := f.wait(forever); got.Total() != 0 || got.Unseen != nil || got.Waited > forever/2 {
			f.Errorf("got %+v, want no connection seen and no wait", got)
		}
	})
}

func TestWait_EndsWithTheLastConnection(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		first, second := f.connect(f.proxy, f.app), f.connect(f.proxy, f.app)
		time.AfterFunc(200*time.Millisecond, func() { first.Close() })
		time.AfterFunc(400*time.Millisecond, func() { second.Close() })
		if got := f.wait(forever); got.Total() != 0 || got.Waited < 400*time.Millisecond || got.Waited > forever/2 {
			f.Errorf("got %+v, want a wait until the second was closed", got)
		}
	})
}

func TestWait_CountsWhatIsOpenAtTheLimit(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		for range 3 {
			f.connect(f.proxy, f.app)
		}
		got := f.wait(300 * time.Millisecond)
		if got.Total() != 3 || got.Open[f.app.ID] != 3 || got.Waited < 300*time.Millisecond {
			f.Errorf("got %+v, want 3 connections after 300ms", got)
		}
	})
}

func TestWait_CountsConnectionsFromTheProxyAlone(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		f.connect(f.run("another"), f.app)
		f.connect(f.app, f.proxy) // The application's own request through the proxy.
		f.connect(f.proxy, f.run("neighbour"))
		if got := f.wait(forever); got.Total() != 0 || got.Waited > forever/2 {
			f.Errorf("got %+v, want no wait for connections of others", got)
		}
	})
}

func TestWait_WaitsForSeveralContainersAtOnce(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		second := f.run("second")
		f.connect(f.proxy, second)
		conn := f.connect(f.proxy, f.app)
		time.AfterFunc(100*time.Millisecond, func() { conn.Close() })
		got, err := drain.Wait(f.Context(), f.h, f.proxy, []engine.Container{f.app, second}, drain.Bounds{Limit: 500 * time.Millisecond})
		if err != nil {
			f.Fatal(err)
		}
		if got.Total() != 1 || got.Open[second.ID] != 1 || got.Open[f.app.ID] != 0 {
			f.Errorf("got %+v, want one connection of the second container", got)
		}
	})
}

func TestWait_EndsWithTheContainer(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		f.connect(f.proxy, f.app)
		time.AfterFunc(200*time.Millisecond, func() {
			if err := f.h.Engine().Kill(f.Context(), f.app.ID, ""); err != nil {
				f.Error(err)
			}
		})
		if got := f.wait(forever); got.Total() != 0 || got.Unseen != nil || got.Waited > forever/2 {
			f.Errorf("got %+v, want the end of the wait with the container", got)
		}
	})
}

func TestWait_WithoutProxyCountsConnectionsOfEveryOther(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		f.connect(f.run("another"), f.app)
		got, err := drain.Wait(f.Context(), f.h, engine.Container{}, []engine.Container{f.app}, drain.Bounds{Limit: 300 * time.Millisecond})
		if err != nil {
			f.Fatal(err)
		}
		if got.Total() != 1 {
			f.Errorf("got %+v, want the other's connection", got)
		}
	})
}

func TestWait_DoesNotWaitForWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.h.Engine().Stop(t.Context(), f.app.ID, engine.Stop{}); err != nil {
		t.Fatal(err)
	}
	stale := f.app // As it was seen while it ran.
	for name, c := range map[string]engine.Container{"as it is": f.inspect(f.app.ID), "as it was": stale, "removed": {ID: "none", Name: "none"}} {
		got, err := drain.Wait(t.Context(), f.h, f.proxy, []engine.Container{c}, drain.Bounds{Limit: forever})
		if err != nil || got.Total() != 0 || got.Unseen != nil || got.Waited > forever/2 {
			t.Errorf("%s: got %+v, %v, want no wait", name, got, err)
		}
	}
}

func TestWait_WaitsTheWholeLimitWhereConnectionsAreHidden(t *testing.T) {
	t.Parallel()
	for name, mood := range ways() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			mood.HiddenProc = true
			f.fake.Set(mood)
			got := f.wait(400 * time.Millisecond)
			if got.Unseen == nil || got.Waited < 400*time.Millisecond || got.Total() != 0 {
				t.Errorf("got %+v, want the whole wait and a reason", got)
			}
		})
	}
}

func TestWait_TakesNoOtherProcessForTheContainers(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		// As in a container, where processes have numbers of their own.
		trie := filepath.Join(f.fake.Root, "proc", strconv.Itoa(f.app.Pid), "net", "fib_trie")
		if err := os.WriteFile(trie, []byte("        |-- 172.18.0.99\n"), 0o600); err != nil {
			f.Fatal(err)
		}
		if got := f.wait(400 * time.Millisecond); got.Unseen == nil || got.Waited < 400*time.Millisecond {
			f.Errorf("got %+v, want the whole wait and a reason", got)
		}
	})
}

func TestWait_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		f.connect(f.proxy, f.app)
		cause := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(f.Context())
		time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
		began := time.Now()
		_, err := drain.Wait(ctx, f.h, f.proxy, []engine.Container{f.app}, drain.Bounds{Limit: forever})
		if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) || time.Since(began) > forever/2 {
			f.Errorf("got %v after %s, want the context's end", err, time.Since(began))
		}
	})
}

func TestWait_ZeroDoesNotLook(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.connect(f.proxy, f.app)
	before := len(f.fake.Engine.Requests())
	if got := f.wait(0); got.Waited != 0 || got.Total() != 0 || len(f.fake.Engine.Requests()) != before {
		t.Errorf("got %+v, want nothing done", got)
	}
}

// sends has the application's interface count n bytes.
func (f *fixture) sends(n int) {
	text := fmt.Sprintf("Inter-| Receive | Transmit\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n"+
		"  eth0:%8d 1 0 0 0 0 0 0 %d 1 0 0 0 0 0 0\n", time.Now().UnixNano(), 7*n, n)
	file := filepath.Join(f.fake.Root, "proc", strconv.Itoa(f.app.Pid), "net", "dev")
	if err := os.WriteFile(file+".own", []byte(text), 0o600); err != nil {
		f.Error(err)
	}
	if err := os.Rename(file+".own", file); err != nil {
		f.Error(err)
	}
}

func keepsAll(engine.Container) bool { return true }

func TestWait_TakesKeptConnectionsForIdleOnlyAfterSilence(t *testing.T) {
	t.Parallel()
	const limit, silence = 6 * time.Second, time.Second
	for name, c := range map[string]struct {
		keeps  func(engine.Container) bool
		busy   time.Duration // For how long bytes move.
		others bool          // Only the loopback's, and what is received.
		min    time.Duration
		open   int
	}{
		"nothing moves":                    {keepsAll, 0, false, silence, 0},
		"bytes move for a while":           {keepsAll, 1500 * time.Millisecond, false, 2 * time.Second, 0}, // The last byte may move well before the time is over.
		"bytes move until the limit":       {keepsAll, limit + silence, false, limit, 1},
		"only the loopback's bytes move":   {keepsAll, limit + silence, true, silence, 0},
		"the proxy closes idle ones":       {nil, 0, false, limit, 1},
		"the proxy closes this one's idle": {func(engine.Container) bool { return false }, 0, false, limit, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(f *fixture) {
				f.connect(f.proxy, f.app)
				f.sends(1)
				began := time.Now()
				tick := time.NewTicker(50 * time.Millisecond)
				done := make(chan struct{})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for n := 2; ; n++ {
						select {
						case <-done:
							return
						case <-tick.C:
						}
						switch {
						case time.Since(began) > c.busy:
						case c.others:
							f.sends(1)
						default:
							f.sends(n)
						}
					}
				}()
				defer func() { tick.Stop(); close(done); <-ended }()
				got, err := drain.Wait(f.Context(), f.h, f.proxy, []engine.Container{f.app},
					drain.Bounds{Limit: limit, Keeps: c.keeps, Silence: silence})
				if err != nil {
					f.Fatal(err)
				}
				if got.Total() != c.open || got.Unseen != nil || got.Waited < c.min || c.min < limit && got.Waited >= limit {
					f.Errorf("got %+v, want %d open after %s at least", got, c.open, c.min)
				}
			})
		})
	}
}

func TestWait_TakesNothingForIdleWhereTheCountersAreMissing(t *testing.T) {
	t.Parallel()
	eachWay(t, func(f *fixture) {
		f.connect(f.proxy, f.app)
		if err := os.Remove(filepath.Join(f.fake.Root, "proc", strconv.Itoa(f.app.Pid), "net", "dev")); err != nil {
			f.Fatal(err)
		}
		got, err := drain.Wait(f.Context(), f.h, f.proxy, []engine.Container{f.app},
			drain.Bounds{Limit: 2 * time.Second, Keeps: keepsAll, Silence: 100 * time.Millisecond})
		if err != nil || got.Total() != 1 || got.Waited < 2*time.Second {
			f.Errorf("got %+v, %v, want the connection after the whole limit", got, err)
		}
	})
}
