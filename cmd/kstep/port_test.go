package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// listening makes v1 listen on port 3000, and v2 on port 8080, which kstep.yml has
// from v2 on.
func (w *world) listening(v2 hosttest.Behaviour) (args []string) {
	w.t.Helper()
	w.behave("v1", hosttest.Behaviour{Port: 3000})
	w.deploy("v1")
	w.replace("healthcheck: {interval", "healthcheck: {port: 8080, interval")
	v2.Port = 8080
	w.behave("v2", v2)
	return w.deployArgs("v2")
}

func TestAbort_OfAReleaseWithAnotherPortLeavesTheOldVersionItsOwn(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"routes": "", "cord": "proxy: {switch: cord}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(kind)
			w.exits(exit.BarrierClosed, w.listening(hosttest.Behaviour{Handler: sick})...)
			w.serves("v1")
			w.exits(exit.OK, "abort")
			w.serves("v1")
			if one := w.statusReport().Targets[0]; one.Version != "v1" || one.Routed == nil || !*one.Routed {
				t.Errorf("status does not say that v1 has the traffic: %+v", one)
			}
		})
		t.Run(name+", after a part of the traffic has moved", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(kind)
			args := w.listening(hosttest.Behaviour{})
			w.exits(exit.OK, append([]string{"push"}, args[1:]...)...)
			for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
				w.exits(exit.OK, stage)
			}
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.exits(exit.OK, "abort")
			w.serves("v1")
		})
	}
}

func TestRollback_GoesBackToThePortAndPathThatTheVersionServedAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behave("v1", hosttest.Behaviour{Port: 3000, Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ready" {
				rw.WriteHeader(http.StatusNotFound)
			}
			_, _ = rw.Write([]byte("v1"))
		})
	}})
	w.deploy("v1")
	w.replace("healthcheck: {interval", "healthcheck: {port: 8080, path: /ready, interval")
	w.behave("v2", hosttest.Behaviour{Port: 8080})
	w.deploy("v2")
	w.serves("v2")
	_, stderr := w.exits(exit.OK, "rollback")
	w.serves("v1")
	if !strings.Contains(stderr, "web@vm1 (http :3000/up)") {
		t.Errorf("it does not say where the version is reached:\n%s", stderr)
	}
	w.exits(exit.OK, "rollback", "v2")
	w.serves("v2")
}

func TestStatus_AfterThePortOfTheConfigurationChangedSaysWhatServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("healthcheck: {interval", "healthcheck: {port: 8080, interval")
	for _, one := range w.statusReport().Targets {
		if one.Version != "v1" || one.Routed != nil && !*one.Routed {
			t.Errorf("status does not say that v1 has the traffic: %+v", one)
		}
	}
	// The container listens on both ports, so the same version takes the new one.
	w.exits(exit.OK, "redeploy", "--image", w.image("v1"), "--version", "v1")
	files, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep/proxy/routes/shop-web-*.yml"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if route := readText(t, files[0]); !strings.Contains(route, ":8080") {
		t.Errorf("the route does not have the new port:\n%s", route)
	}
}

func TestAbort_GivesTheOldVersionTheRequestsThatItHad(t *testing.T) {
	t.Parallel()
	for _, now := range []string{"proxy: {hosts: [new.example.com]}\n", "proxy: {hosts: [old.example.com, new.example.com], path_prefix: /app}\n"} {
		t.Run(now, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append("proxy: {hosts: [old.example.com]}\n")
			w.deploy("v1")
			w.replace("proxy: {hosts: [old.example.com]}\n", now)
			w.exits(exit.OK, append([]string{"push"}, w.deployArgs("v2")[1:]...)...)
			for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait"} {
				w.exits(exit.OK, stage)
			}
			w.exits(exit.OK, "cutover", "--hosts", "vm1")
			w.answersAlways("vm1", "new.example.com/app", "v2")
			w.exits(exit.OK, "abort")
			for _, hostName := range []string{"vm1", "vm2"} {
				w.answersAlways(hostName, "old.example.com/", "v1")
				if got := w.answers(hostName, "new.example.com/app"); got == "v1" || got == "v2" {
					t.Errorf("%s answers for the name of the release that was aborted: %s", hostName, got)
				}
			}
		})
	}
}
