package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestStop_ThatEndsInAKillIsReportedWithWhatToDo(t *testing.T) {
	t.Parallel()
	const init = "set servers.%s.options: {init: true} or stop.signal"
	for name, c := range map[string]struct {
		options string
		stop    func(*world) string
		want    []string
		not     string
	}{
		"a worker that a deploy replaces": {"", func(w *world) string {
			w.behave("v2", hosttest.Behaviour{})
			_, stderr := w.exits(exit.OK, w.deployArgs("v2")...)
			return stderr
		}, []string{"vm3: container shop-job-v1 did not end within its stop.timeout", strings.Replace(init, "%s", "job", 1), "raise stop.timeout"}, "container shop-job-v2 did not end"},
		"a worker with an init": {"    options: {init: true}\n", func(w *world) string {
			w.behave("v2", hosttest.Behaviour{})
			_, stderr := w.exits(exit.OK, w.deployArgs("v2")...)
			return stderr
		}, []string{"vm3: container shop-job-v1 did not end within its stop.timeout", "raise stop.timeout"}, "servers.job.options"},
		"app stop": {"", func(w *world) string {
			_, stderr := w.exits(exit.OK, "app", "stop", "--roles", "web")
			return stderr
		}, []string{"vm1: container shop-web-v1 did not end", "vm2: container shop-web-v1 did not end", strings.Replace(init, "%s", "web", 1)}, "container shop-job-v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append("stop: {timeout: 1s}\n")
			w.replace("    cmd: work hard\n", "    cmd: work hard\n"+c.options)
			w.behave("v1", hosttest.Behaviour{IgnoreStop: true})
			w.deploy("v1")
			stderr := c.stop(w)
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, c.not) {
				t.Errorf("stderr says %q:\n%s", c.not, stderr)
			}
		})
	}
}

func TestStop_OfAContainerWithoutTrafficDoesNotWaitForTheWholeTimeout(t *testing.T) {
	t.Parallel()
	sick := hosttest.Behaviour{IgnoreStop: true, Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	}}
	for name, stop := range map[string]func(*world){
		"the barrier closes": func(w *world) {
			w.behave("v2", sick)
			w.exits(exit.BarrierClosed, w.deployArgs("v2")...)
		},
		"abort before the barrier opens": func(w *world) {
			w.behave("v2", sick)
			w.stages("v2", "assets", "env-push", "boot")
			w.exits(exit.OK, "abort")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("stop: {timeout: 2m}\n")
			w.replace("  job:\n    hosts: [vm3]\n    cmd: work hard\n    healthcheck: {cmd: \"true\"}\n", "")
			w.deploy("v1")
			began := time.Now()
			stop(w)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
			w.serves("v1")
		})
	}
}
