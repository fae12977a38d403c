package hosttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lines"
)

// Suite is what every host must do, fake or real. open returns the host under test; the
// suite closes nothing. img is an image on it, with `sh`, `nslookup`, a folder `/www`
// that holds `index.html`, and a command that serves HTTP on port 3000 until a stop
// signal. restart restarts the host's engine; it is nil where the engine is not the
// test's own.
func Suite(t *testing.T, open func(*testing.T) host.Host, img string, restart func(context.Context) error) {
	t.Helper()
	h := open(t)
	t.Run("files", func(t *testing.T) { SuiteFiles(t, h) })
	t.Run("commands", func(t *testing.T) { SuiteCommands(t, h) })
	t.Run("engine", func(t *testing.T) { suiteEngine(t, h, img, restart) })
}

// suiteDir is a folder on the host for one test.
func suiteDir(t *testing.T, h host.Host) string {
	t.Helper()
	home, err := h.Files().Home(t.Context())
	must(t, err)
	if !path.IsAbs(home) {
		t.Fatalf("home %q is not absolute", home)
	}
	above, name := path.Join(home, "kstep-suite"), suiteName() // A home folder may be /root: a removal wants a root of two names.
	dir := path.Join(above, name)
	must(t, h.Files().Mkdir(t.Context(), dir, 0o755))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := h.Files().RemoveTree(ctx, host.Under(above, name)); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return dir
}

func suiteName() string { return "kstep-suite-" + strings.ToLower(rand.Text()[:8]) }

// refusing is a writer that fails.
type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

// SuiteCommands is the part of Suite about commands, whatever the login shell.
func SuiteCommands(t *testing.T, h host.Host) {
	t.Run("arguments arrive as they are", func(t *testing.T) {
		args := []string{"", " ", "a b", "it's", `"`, `\`, "$HOME", "`id`", "*", "~", "-n", "a=b", "new\nline", "grüße", "!", "#x", ";", "&&", "\t", `\n`}
		out, err := h.Run(t.Context(), append([]string{"sh", "-c", `for a; do printf '<%s>' "$a"; done`, "sh"}, args...), nil)
		must(t, err)
		var want strings.Builder
		for _, a := range args {
			want.WriteString("<" + a + ">")
		}
		if string(out) != want.String() {
			t.Errorf("got %q, want %q", out, want.String())
		}
	})
	t.Run("standard input goes in, standard output comes out", func(t *testing.T) {
		data := bytes.Repeat([]byte{0, 1, '\n', 255}, 50_000)
		out, err := h.Run(t.Context(), []string{"cat"}, data)
		must(t, err)
		if !bytes.Equal(out, data) {
			t.Errorf("got %d other bytes, want %d", len(out), len(data))
		}
	})
	t.Run("a failure tells host, program, status and complaint, and no argument", func(t *testing.T) {
		out, err := h.Run(t.Context(), []string{"sh", "-c", "echo out; echo oh no >&2; exit 7", "secret-argument"}, nil)
		failed, ok := errors.AsType[*host.CommandError](err)
		if !ok {
			t.Fatalf("got %v, want a *host.CommandError", err)
		}
		want := host.CommandError{Host: h.Name(), Program: "sh", Status: 7, Stderr: "oh no"}
		if *failed != want {
			t.Errorf("got %+v, want %+v", *failed, want)
		}
		if string(out) != "out\n" || strings.Contains(err.Error(), "secret-argument") {
			t.Errorf("got output %q and error %q", out, err)
		}
	})
	t.Run("a missing program is status 127", func(t *testing.T) {
		_, err := h.Run(t.Context(), []string{"kstep-no-such-program"}, nil)
		if failed, ok := errors.AsType[*host.CommandError](err); !ok || failed.Status != 127 {
			t.Errorf("got %v, want status 127", err)
		}
	})
	t.Run("output comes while the program runs", func(t *testing.T) {
		home, err := h.Files().Home(t.Context())
		must(t, err)
		file := path.Join(home, suiteName())
		t.Cleanup(func() {
			_, err := h.Run(context.WithoutCancel(t.Context()), []string{"rm", "-f", "--", file}, nil)
			must(t, err)
		})
		var seen []string
		split := &lines.Writer{Emit: func(line string) {
			if seen = append(seen, strings.TrimSpace(line)); len(seen) == 1 {
				must(t, h.Files().Create(t.Context(), file, nil, 0o600))
			}
		}}
		script := `echo one; until test -e "$0"; do sleep 0.05; done; echo two`
		must(t, h.RunTo(t.Context(), []string{"sh", "-c", script, file}, nil, split))
		if !slices.Equal(seen, []string{"one", "two"}) {
			t.Errorf("got %q, want one and two", seen)
		}
	})
	t.Run("a program whose output is not taken is stopped", func(t *testing.T) {
		full := errors.New("full")
		err := h.RunTo(t.Context(), []string{"sh", "-c", "yes"}, nil, refusing{full})
		if !errors.Is(err, full) || !strings.Contains(err.Error(), "run sh on "+h.Name()) {
			t.Errorf("got %v, want %v", err, full)
		}
	})
	t.Run("the end of the context ends the wait", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := h.Run(ctx, []string{"sleep", "30"}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: got %v, want context.DeadlineExceeded", time.Since(began), err)
		}
	})
	t.Run("a port of the host's own leads here", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l, err := h.Listen(ctx)
		must(t, err)
		defer l.Close()
		address, ok := l.Addr().(*net.TCPAddr)
		if !ok || !address.IP.IsLoopback() || address.Port == 0 {
			t.Fatalf("got the address %v, want a port of the loopback", l.Addr())
		}
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // Ends with the listener.
			io.WriteString(w, "you asked for "+r.URL.Path) // The client notices.
		}))
		for _, path := range []string{"one", "two"} { // Each over a connection of its own.
			script := `exec 3<>"/dev/tcp/127.0.0.1/$0" && printf 'GET \057%s HTTP/1.0\r\n\r\n' "$1" >&3 && cat <&3`
			out, err := h.Run(ctx, []string{"bash", "-c", script, strconv.Itoa(address.Port), path}, nil)
			if err != nil || !strings.Contains(string(out), "you asked for /"+path) {
				t.Errorf("got %q, %v, want the answer for %s", out, err, path)
			}
		}
		must(t, l.Close())
		if _, err := h.Run(ctx, []string{"bash", "-c", `exec 3<>"/dev/tcp/127.0.0.1/$0"`, strconv.Itoa(address.Port)}, nil); err == nil {
			t.Error("the port is open although the listener is closed")
		}
	})
	t.Run("many at once all end", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				out, err := h.Run(t.Context(), []string{"echo", fmt.Sprint(i)}, nil)
				if err != nil || string(out) != fmt.Sprintln(i) {
					t.Errorf("%d: got %q, %v", i, out, err)
				}
			})
		}
		wg.Wait()
	})
}
