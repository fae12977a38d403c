package host_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// lock writes a key with a passphrase.
func lock(t *testing.T, private any) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("word"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_locked")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// recorder is an interceptor that counts, and fails chosen attempts.
type recorder struct {
	mu   sync.Mutex
	ops  []host.Op
	fail func(n int, op host.Op, next func() error) error
}

func (r *recorder) around(ctx context.Context, op host.Op, next func(context.Context) error) error {
	r.mu.Lock()
	r.ops = append(r.ops, op)
	n := len(r.ops)
	r.mu.Unlock()
	if r.fail != nil {
		return r.fail(n, op, func() error { return next(ctx) })
	}
	return next(ctx)
}

func (r *recorder) names(kinds ...host.Kind) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, op := range r.ops {
		if len(kinds) == 0 || slices.Contains(kinds, op.Kind) {
			names = append(names, string(op.Kind)+" "+op.Name)
		}
	}
	return names
}

func recorded(t *testing.T, fake *hosttest.Fake) (host.Host, *recorder) {
	t.Helper()
	r := &recorder{}
	opts := hosttest.Options(t, fake)
	opts.Intercept = r.around
	h, err := get(t, opts, fake.Name)
	if err != nil {
		t.Fatal(err)
	}
	return h, r
}

func TestIntercept_SeesEveryRemoteOperationOnce(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Engine.AddImage("app:1", hosttest.Image{})
	h, r := recorded(t, fake)
	if err := h.Files().Write(t.Context(), "a/b", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine().Create(t.Context(), engine.Spec{Name: "app", Image: "app:1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Engine().Inspect(t.Context(), "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), []string{"true"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Dial(t.Context(), "tcp", "172.18.0.9:1"); err == nil {
		t.Error("reached an address that nobody has")
	}
	want := []string{
		"connect ssh", "sftp write", "engine HEAD /_ping", "engine POST /containers/create",
		"engine GET /containers/{}/json", "run true", "dial tcp",
	}
	if got := r.names(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, op := range r.ops {
		if op.Host != "vm1" {
			t.Errorf("got host %q in %v", op.Host, op)
		}
	}
}

func TestPool_HoldsOneConnectionForManyGoroutines(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	r := &recorder{}
	opts := hosttest.Options(t, fake)
	opts.Intercept = r.around
	pool := hosttest.NewPool(t, opts)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			h, err := pool.Get(t.Context(), "vm1")
			if err == nil {
				_, err = h.Files().Home(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := r.names(host.KindConnect); len(got) != 1 {
		t.Errorf("got %d connections, want 1", len(got))
	}
}

func TestQuote_RefusesWhatNoProgramCanGet(t *testing.T) {
	t.Parallel()
	for _, argv := range [][]string{nil, {"a\x00b"}} {
		if line, err := host.Quote(argv); err == nil {
			t.Errorf("%q: got %q, want an error", argv, line)
		}
	}
}

func FuzzQuote_ShellGivesTheArgumentsBack(f *testing.F) {
	for _, seed := range []string{"", "a", "it's", "$(x)", "`x`", "a\nb", "\\", "''", "-n", "~", "*", "a=b", "\xff\xfe", "!x"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		line, err := host.Quote([]string{"printf", "%s|%s.", a, b})
		if err != nil {
			return
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := []byte(a + "|" + b + "."); !bytes.Equal(out, want) {
			t.Errorf("got %q, want %q", out, want)
		}
	})
}

func TestPool_WarmConnectsToAllHostsAndGetMakesNoSecondConnection(t *testing.T) {
	t.Parallel()
	fakes := []*hosttest.Fake{hosttest.NewFake(t, "vm1"), hosttest.NewFake(t, "vm2")}
	r := &recorder{}
	opts := hosttest.Options(t, fakes...)
	opts.Intercept = r.around
	pool := hosttest.NewPool(t, opts)
	pool.Warm(t.Context(), []string{"vm1", "vm2", host.Local})
	pool.Warm(t.Context(), []string{"vm1"})
	for _, f := range fakes {
		h, err := pool.Get(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Files().Home(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := len(r.names(host.KindConnect)); got != 2 {
		t.Errorf("got %d connections, want 2", got)
	}
}

func TestPool_FailureOfWarmIsToldByGetWithoutAnotherAttempt(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{RefuseKeys: true})
	r := &recorder{}
	opts := hosttest.Options(t, fake)
	opts.Intercept = r.around
	pool := hosttest.NewPool(t, opts)
	pool.Warm(t.Context(), []string{"vm1"})
	if _, err := pool.Get(t.Context(), "vm1"); err == nil {
		t.Error("got no error of a host that refuses the key, want one")
	}
	if got := len(r.names(host.KindConnect)); got != 1 {
		t.Errorf("got %d attempts, want 1", got)
	}
	fake.Set(hosttest.Mood{})
	if _, err := pool.Get(t.Context(), "vm1"); err != nil {
		t.Errorf("once the host takes the key: %v", err)
	}
}
