package host_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestConnection_ThatBrokeIsMadeAgainForWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	h, r := recorded(t, fake)
	if err := h.Files().Write(t.Context(), "file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fake.Sever()
		if data, err := h.Files().Read(t.Context(), "file"); err != nil || string(data) != "x" {
			t.Fatalf("got %q, %v", data, err)
		}
		fake.Sever()
		if _, err := h.Engine().Containers(t.Context(), engine.Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(r.names(host.KindConnect)); got != 7 {
		t.Errorf("got %d connections, want 7", got)
	}
}

func TestConnection_ThatBreaksUnderWhatMayNotBeRepeatedIsAnError(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.AddImage("app:1", hosttest.Image{})
	operations := map[string]func(host.Host) error{
		"run": func(h host.Host) error { _, err := h.Run(t.Context(), []string{"true"}, nil); return err },
		"create a container": func(h host.Host) error {
			_, err := h.Engine().Create(t.Context(), engine.Spec{Image: "app:1"})
			return err
		},
	}
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			h, r := recorded(t, fake)
			if _, err := h.Engine().Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			tries := 0
			r.fail = func(_ int, op host.Op, next func() error) error {
				if op.Kind == host.KindConnect {
					return next()
				}
				tries++
				if err := next(); err != nil {
					return err
				}
				return host.ErrConnectionLost // The answer does not arrive.
			}
			err := operation(h)
			wantError(t, err, exit.Unreachable, "vm1")
			if tries != 1 {
				t.Errorf("got %d tries, want 1", tries)
			}
			r.fail = nil
			if _, err := h.Files().Home(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestConnection_LostBeforeOrAfterARequestIsRepeated(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			h, r := recorded(t, hosttest.NewFake(t, "vm1"))
			lost := map[host.Op]bool{}
			r.fail = func(_ int, op host.Op, next func() error) error {
				if lost[op] || op.Kind == host.KindConnect {
					return next()
				}
				lost[op] = true
				if after {
					if err := next(); err != nil {
						return err
					}
				}
				return host.ErrConnectionLost
			}
			for range 2 {
				if err := h.Files().Write(t.Context(), "file", []byte("x"), 0o600); err != nil {
					t.Error(err)
				}
				if _, err := h.Engine().Containers(t.Context(), engine.Filter{}); err != nil {
					t.Error(err)
				}
			}
			if got := len(r.names(host.KindConnect)); got != 4 {
				t.Errorf("got %d connections, want 4: %q", got, r.names())
			}
		})
	}
}

// losing loses the answer to the first operation of a name.
func losing(r *recorder, name string) {
	lost := false
	r.fail = func(_ int, op host.Op, next func() error) error {
		err := next()
		if lost || op.Name != name || err != nil {
			return err
		}
		lost = true
		return host.ErrConnectionLost
	}
}

func TestCreate_LooksUpWhatBecameOfALostAnswer(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.AddImage("app:1", hosttest.Image{})
	h, r := recorded(t, fake)
	losing(r, "create")
	if err := h.Files().Create(t.Context(), "once", []byte("mine"), 0o600); err != nil {
		t.Errorf("a file: %v", err)
	}
	losing(r, "create")
	if err := h.Files().Create(t.Context(), "once", []byte("yours"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file that somebody else made: %v, want that it is there", err)
	}
	losing(r, "POST /containers/create")
	spec := engine.Spec{Name: "app", Image: "app:1", Labels: map[string]string{engine.LabelSpec: "sha256:1"}}
	id, err := h.Engine().Create(t.Context(), spec)
	if err != nil {
		t.Fatalf("a container: %v", err)
	}
	if c, err := h.Engine().Inspect(t.Context(), "app"); err != nil || c.ID != id {
		t.Errorf("a container: got %s, %v; want %s", c.ID, err, id)
	}
	losing(r, "POST /containers/{}/rename")
	if err := h.Engine().Rename(t.Context(), id, "other"); err != nil {
		t.Errorf("a new name: %v", err)
	}
}

func TestConnection_ToAVanishedPeerIsNoticed(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.AddImage("app:1", hosttest.Image{Cmd: []string{"serve"}})
	opts := hosttest.Options(t, fake)
	opts.Keepalive = 500 * time.Millisecond
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine().Create(t.Context(), engine.Spec{Name: "app", Image: "app:1"}); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(50*time.Millisecond, fake.Sever)
	defer stop.Stop()
	// The wait outlives the connection.
	started := make(chan error, 1)
	time.AfterFunc(time.Second, func() { started <- h.Engine().Start(t.Context(), "app") })
	if err := h.Engine().WaitFor(t.Context(), "app", func(c engine.Container) (bool, error) { return c.Running(), nil }); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Errorf("start: %v", err)
	}
}

// A new connection may end before a request is written to it. net/http has no
// type for that, and it is a matter of who comes first.
func TestConnection_ThatEndsBeforeItsFirstRequestIsMadeAgain(t *testing.T) {
	t.Parallel()
	const words = "server closed idle connection"
	var ended error
	for ended == nil || !strings.Contains(ended.Error(), words) {
		client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			there.Close()
			return here, nil
		}}}
		_, ended = client.Get("http://docker/")
	}
	var tries atomic.Int32
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	opts.Intercept = func(ctx context.Context, op host.Op, next func(context.Context) error) error {
		if op.Name == "GET /containers/json" && tries.Add(1) == 1 {
			return ended
		}
		return next(ctx)
	}
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine().Containers(t.Context(), engine.Filter{}); err != nil || tries.Load() != 2 {
		t.Errorf("got %v after %d tries, want an answer to the second", err, tries.Load())
	}
}

func TestEngine_ThatRestartsIsAskedAgainOnTheSameConnection(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	h, r := recorded(t, fake)
	if _, err := h.Engine().Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	fake.Engine.SetDown(true)
	_, err := h.Engine().Containers(t.Context(), engine.Filter{})
	wantError(t, err, exit.Unreachable, "list containers", "vm1")
	fake.Engine.SetDown(false)
	if _, err := h.Engine().Containers(t.Context(), engine.Filter{}); err != nil {
		t.Fatal(err)
	}
	if got := len(r.names(host.KindConnect)); got != 1 {
		t.Errorf("got %d connections, want 1", got)
	}
}
