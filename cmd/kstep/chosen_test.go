package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// notice is a process's output that reports when a text appears in it.
type notice struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
	once sync.Once
}

func newNotice(want string) *notice { return &notice{want: want, seen: make(chan struct{})} }

func (n *notice) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text.Write(p)
	if strings.Contains(n.text.String(), n.want) {
		n.once.Do(func() { close(n.seen) })
	}
	return len(p), nil
}

func (n *notice) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// choosing are the commands that choose a version by what serves, and the version
// that serves after each, where v0, v1 and v2 served in this order.
var choosing = map[string]struct {
	args []string
	ends string
}{
	"rollback":                     {[]string{"rollback"}, "v1"},
	"rollback with new containers": {[]string{"rollback", "--fresh"}, "v1"},
	"restart":                      {[]string{"app", "restart"}, "v2"},
}

// duringDeploy runs a command while a deploy of v2 stands before its cutover. The
// deploy goes on when the command waits for it.
func (w *world) duringDeploy(deploy *job, waits string, args ...string) (exit.Code, string) {
	w.t.Helper()
	freezer := newFreezer(func(op host.Op) bool { return strings.Contains(op.Path, "/proxy/routes/") && op.Name == "write" })
	deploy.around = freezer.around
	ended := make(chan string, 1)
	go func() {
		code, out := deploy.run(w.deployArgs("v2")...)
		if code == exit.OK {
			out = ""
		}
		ended <- out
	}()
	<-freezer.frozen
	said := newNotice(waits)
	code := make(chan exit.Code, 1)
	go func() {
		code <- w.run(w.t.Context(), said, said, args...)
	}()
	select {
	case <-said.seen:
	case c := <-code:
		code <- c
	}
	close(freezer.thaw)
	if out := <-ended; out != "" {
		w.t.Errorf("the deploy failed:\n%s", out)
	}
	return <-code, said.String()
}

func TestChoice_IsMadeAfterAnotherKstepIsDoneInTheFolder(t *testing.T) {
	t.Parallel()
	for name, c := range choosing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v0")
			w.deploy("v1")
			state := filepath.Join(w.dir, "kstep-state")
			code, out := w.duringDeploy(&job{w: w, state: state}, "waiting: another kstep", c.args...)
			if code != exit.OK || !strings.Contains(out, "waiting: another kstep") {
				t.Errorf("exit code %d, want 0 after it waited\n%s", code, out)
			}
			w.serves(c.ends)
		})
	}
}

func TestChoice_IsRefusedWhenAnotherReleaseHasGoneLiveSince(t *testing.T) {
	t.Parallel()
	for name, c := range choosing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v0")
			w.deploy("v1")
			code, out := w.duringDeploy(w.job(), "waiting: ", append(c.args, "--wait", "1m")...)
			if code != exit.BadState {
				t.Errorf("exit code %d, want 21\n%s", code, out)
			}
			for _, want := range []string{"waiting: ", "version v2", "has gone live since the version was chosen", "run the same command again"} {
				if !strings.Contains(out, want) {
					t.Errorf("the refusal does not say %q:\n%s", want, out)
				}
			}
			w.serves("v2")
			if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.HasPrefix(stdout, "free") {
				t.Errorf("the lease is not free: %s", stdout)
			}
			w.exits(exit.OK, c.args...)
			w.serves(c.ends)
		})
	}
}

// A version that the user named depends on nothing that serves.
func TestChoice_OfTheUserHoldsAlsoAfterAnotherReleaseHasGoneLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v0")
	w.deploy("v1")
	if code, out := w.duringDeploy(w.job(), "waiting: ", "rollback", "v0", "--wait", "1m"); code != exit.OK {
		t.Errorf("exit code %d, want 0\n%s", code, out)
	}
	w.serves("v0")
}
