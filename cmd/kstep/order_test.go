package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// sickAfter answers so many requests well, and then none.
func sickAfter(well int32) hosttest.Behaviour {
	return hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler {
		var asked atomic.Int32
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) > well {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}}
}

func TestCutover_LeavesTheOtherRolesOldWhenThePrimaryOneGoesBack(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"a worker that starts with boot":         "",
		"a worker that starts after the barrier": "    start: after-barrier\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("    cmd: work hard\n", "    cmd: work hard\n"+extra)
			w.deploy("v1")
			w.behave("v2", sickAfter(1)) // Ready, but not through the proxy.
			_, stderr := w.exits(exit.RolledBack, w.deployArgs("v2")...)
			if !strings.Contains(stderr, "moved traffic back to shop-web-v1") {
				t.Errorf("stderr does not name the way back:\n%s", stderr)
			}
			w.serves("v1")
			w.works("vm3", "shop-job-v1")
			w.behave("v2", hosttest.Behaviour{})
			w.deploy("v3")
			w.works("vm3", "shop-job-v3")
		})
	}
}

func TestCutover_MovesThePrimaryRoleFirst(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n", "one host at a time": "cutover: {drain: 0, limit: 1}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if strings.HasPrefix(extra, "cutover") {
				w.configure("")
				w.replace("cutover: {drain: 10ms}\n", extra)
			} else {
				w.configure(extra)
			}
			w.replace("barrier: {timeout: 20s}\n", "barrier: {timeout: 20s, quorum: all}\n")
			w.deploy("v1")
			var mu sync.Mutex
			var order []string
			w.on = func(op host.Op) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case strings.Contains(op.Path, "/proxy/routes/"), strings.HasSuffix(op.Path, "/cord"):
					order = append(order, "move on "+op.Host)
				case op.Host == "vm3" && strings.Contains(op.Name+op.Path, "/stop"):
					order = append(order, "stop of the worker")
				}
			}
			w.deploy("v2")
			w.serves("v2")
			mu.Lock()
			defer mu.Unlock()
			stop := strings.Index(fmt.Sprint(order), "stop of the worker")
			for _, name := range []string{"vm1", "vm2"} {
				if at := strings.Index(fmt.Sprint(order), "move on "+name); at < 0 || at > stop {
					t.Errorf("the worker stopped before the traffic moved on %s: %v", name, order)
				}
			}
		})
	}
}

func TestCutover_OfAnotherRoleInAJobOfItsOwnWaitsForThePrimaryOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	for _, args := range [][]string{
		{"push", "--image", w.image("v2"), "--version", "v2"}, {"assets"}, {"env-push"}, {"boot"}, {"barrier-wait"},
	} {
		w.exits(exit.OK, args...)
	}
	w.replace("barrier: {timeout: 20s}\n", "barrier: {timeout: 100ms}\n")
	_, stderr := w.exits(exit.Deadline, "cutover", "--roles", "job")
	for _, part := range []string{"waiting for the cutover of role web", "run kstep cutover for web first"} {
		if !strings.Contains(stderr, part) {
			t.Errorf("stderr lacks %q:\n%s", part, stderr)
		}
	}
	w.works("vm3", "shop-job-v1", "shop-job-v2")
	w.replace("barrier: {timeout: 100ms}\n", "barrier: {timeout: 20s}\n")
	done := make(chan string)
	go func() {
		code, _, stderr := w.kstep("cutover", "--roles", "job")
		done <- fmt.Sprint(code, stderr)
	}()
	w.exits(exit.OK, "cutover", "--roles", "web")
	if said := <-done; !strings.HasPrefix(said, "0") {
		t.Errorf("the worker's job ended with %s", said)
	}
	w.works("vm3", "shop-job-v2")
	w.serves("v2")
}

func TestBoot_RefusesAnImageInWhichTheCheckOfTheCordCannotRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		check    string
		programs []string
		want     string
	}{
		"no shell":                {"", nil, "has no /bin/sh"},
		"no shell, but curl":      {"", []string{"usr/bin/curl"}, "has no /bin/sh"},
		"neither curl nor wget":   {"", []string{"bin/sh"}, "has no curl and no wget"},
		"no program of the check": {"cmd: [/app/check, now]", []string{"bin/sh", "usr/bin/wget"}, "has no /app/check"},
		"a folder of its name":    {"cmd: [check]", []string{"bin/sh", "bin/check/x"}, "has no check"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("proxy: {switch: cord}\n")
			w.deploy("v1")
			if strings.HasPrefix(tt.check, "cmd") {
				w.replace("healthcheck: {interval: 20ms", "healthcheck: {"+tt.check+", interval: 20ms")
			}
			w.programs = tt.programs
			_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
			if !strings.Contains(stderr, tt.want) || !strings.Contains(stderr, "proxy.switch: routes needs nothing in the image") {
				t.Errorf("stderr lacks %q, or the way out:\n%s", tt.want, stderr)
			}
			w.serves("v1")
			w.works("vm1", "shop-web-v1")
			w.exits(exit.OK, "abort")
			w.works("vm3", "shop-job-v1")
		})
	}
}

func TestBoot_AcceptsAnImageInWhichTheCheckOfTheCordRuns(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		check    string
		programs []string
	}{
		"curl alone":         {"", []string{"bin/sh", "usr/local/bin/curl"}},
		"a check of its own": {"cmd: [check]", []string{"bin/sh", "usr/bin/check"}},
		"a check as text":    {"cmd: pg_isready -q", []string{"bin/sh"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("proxy: {switch: cord}\n")
			if tt.check != "" {
				w.replace("healthcheck: {interval: 20ms", "healthcheck: {"+tt.check+", interval: 20ms")
			}
			w.programs = tt.programs
			w.deploy("v1")
			w.serves("v1")
		})
	}
}
