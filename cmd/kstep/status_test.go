package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/plan"
)

// statusReport runs `kstep status --output json`.
func (w *world) statusReport(args ...string) statusReport {
	w.t.Helper()
	stdout, _ := w.exits(exit.OK, append([]string{"status", "--output", "json"}, args...)...)
	var report statusReport
	for line := range strings.Lines(stdout) { // The events of the report are on stdout too.
		if strings.HasPrefix(line, `{"service"`) {
			if err := json.Unmarshal([]byte(line), &report); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return report
}

func TestStatus_TellsWhoGetsTheRequests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(w *world)
		want string
	}{
		"a router made by hand": {func(w *world) { w.hijack("vm1", 1000) }, "vm1 web gets no traffic: another route answers"},
		"the proxy has stopped": {func(w *world) {
			if err := w.hosts["vm1"].Look().Stop(w.t.Context(), plan.ProxyContainer, engine.Stop{}); err != nil {
				w.t.Fatal(err)
			}
		}, "vm1 web gets no traffic: the proxy (kstep-proxy) does not run"},
		"the application is dead": {func(w *world) {
			if err := w.hosts["vm1"].Look().Stop(w.t.Context(), "shop-web-v1", engine.Stop{}); err != nil {
				w.t.Fatal(err)
			}
		}, "vm1 web gets no traffic: /up on any host name answered 502 Bad Gateway"},
		"a router that is less precise": {func(w *world) { w.hijack("vm1", 1) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			c.do(w)
			stdout, _ := w.exits(exit.OK, "status")
			if told := strings.Contains(stdout, "gets no traffic"); told != (c.want != "") || !strings.Contains(stdout, c.want) {
				t.Errorf("got\n%s\nwant %q", stdout, c.want)
			}
			if strings.Contains(stdout, "vm2 web gets") {
				t.Errorf("vm2 serves:\n%s", stdout)
			}
			for _, one := range w.statusReport().Targets {
				if routed := one.Routed != nil && *one.Routed; one.Role == "web" && routed != (one.Host == "vm2" || c.want == "") {
					t.Errorf("%s: routed is %t", one.Host, routed)
				}
			}
		})
	}
}

// hijack adds a router that kstep knows nothing of, for all requests to a host.
func (w *world) hijack(hostName string, priority int) {
	w.t.Helper()
	text := fmt.Sprintf(`{"http": {"routers": {"mine": {"rule": "PathPrefix(`+"`/`"+`)", "service": "mine", "priority": %d}},
		"services": {"mine": {"loadBalancer": {"servers": [{"url": "http://%s:3000"}]}}}}}`,
		priority, w.containersOf(hostName)["shop-web-v1"].ID[:12])
	host := w.hosts[hostName]
	if err := host.Connect(w.t).Files().Write(w.t.Context(), host.Home+"/.kstep/proxy/routes/mine.yml", []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func TestStatus_TellsWhatTheHostsDo(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.deploy("v2")
			w.stages("v3", "assets", "env-push", "boot")
			w.forget() // It needs no state.
			sum := w.statusReport()
			if len(sum.Targets) != 3 || !sum.Lease.Held {
				t.Fatalf("got %+v, want three targets and a held lease", sum)
			}
			for _, one := range sum.Targets {
				routed := one.Routed != nil && *one.Routed
				if one.Version != "v2" || len(one.Containers) != 1 || one.Containers[0].State != "running" || routed != (one.Role == "web") {
					t.Errorf("%s@%s: got %+v, want v2 in service", one.Role, one.Host, one)
				}
				if !slices.Equal(one.Others, []string{"v3"}) || !slices.Equal(one.Retained, []string{"v1"}) {
					t.Errorf("%s@%s: beside it %v and retained %v, want v3 and v1", one.Role, one.Host, one.Others, one.Retained)
				}
			}
			w.exits(exit.OK, "abort")
			stdout, _ := w.exits(exit.OK, "status")
			hosts, beneath, _ := strings.Cut(stdout, "version v3 (")
			if !strings.Contains(beneath, "lease: free") || strings.Contains(hosts, "v3") {
				t.Errorf("after the abort it still shows it on the hosts, or tells nothing of it:\n%s", stdout)
			}
		})
	}
}

// TestStatus_AndReleasesGoByOneRule: what rollback would not find is not shown
// as retained, though it once served.
func TestStatus_AndReleasesGoByOneRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.share()
	w.deploy("v1")
	w.deploy("v2")
	look := w.hosts["vm1"].Look()
	defer look.CloseIdle()
	if err := look.Rename(t.Context(), w.containersOf("vm1")["shop-web-v1"].ID, "aside"); err != nil {
		t.Fatal(err)
	}
	w.operations()
	stdout, _ := w.exits(exit.OK, "status")
	lists := 0
	for _, op := range w.operations() {
		if op.Host == "vm1" && op.Name == "GET /images/json" {
			lists++
		}
	}
	if lists != 1 {
		t.Errorf("the images of vm1 were listed %d times, want once for both of its roles", lists)
	}
	told := 0
	for line := range strings.Lines(stdout) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "v2" {
			continue
		}
		told++
		if retained := fields[len(fields)-1] == "v1"; retained == (fields[0] == "vm1" && fields[1] == "web") {
			t.Errorf("got %q, want v1 retained but for the role web on vm1", line)
		}
	}
	if stdout, _ = w.exits(exit.OK, "releases"); told != 4 || !strings.Contains(stdout, "3 of 4: web@vm1: its container was removed") {
		t.Errorf("got %d lines of v2, and of releases\n%s", told, stdout)
	}
}

func TestStatus_ShowsTheHostsThatAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.hosts["vm2"].Engine.SetDown(true)
	stdout, _ := w.exits(exit.Unreachable, "status")
	if strings.Count(stdout, "v1") != 2 || strings.Count(stdout, "unknown") != 1 {
		t.Errorf("got\n%s, want two hosts with v1 and one unknown", stdout)
	}
}

// A host that is off costs a command that looks one time-out, however often the
// command needs it.
func TestLook_ADeadHostIsConnectedToOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("accessories:\n  db: {image: \"acme/shop\", hosts: [vm2]}\n")
	w.deploy("v1")
	var calls atomic.Int32
	w.on = func(op host.Op) {
		if op.Host == "vm1" && op.Kind == host.KindConnect {
			calls.Add(1)
		}
	}
	w.hosts["vm1"].Set(hosttest.Mood{Deaf: true}) // It has the lease, too.
	w.replace("ssh:\n", "ssh:\n  connect_timeout: 1s\n")
	for _, args := range [][]string{
		{"status"}, {"releases"}, {"plan", "--image", w.image("v2"), "--version", "v2"}, {"app", "details"}, {"lock", "status"},
	} {
		calls.Store(0)
		stdout, stderr := w.exits(exit.Unreachable, args...)
		if n := calls.Load(); n != 1 {
			t.Errorf("%v connects %d times, want once\n%s%s", args, n, stdout, stderr)
		}
	}
}

func TestStatus_TellsOfRestartsProxiesAndReleasesThatNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	says := func(want ...string) {
		t.Helper()
		stdout, _ := w.exits(exit.OK, "status")
		for _, one := range want {
			if !strings.Contains(stdout, one) {
				t.Errorf("it does not say %q:\n%s", one, stdout)
			}
		}
		for _, one := range []string{"restart", "has not served"} {
			if strings.Contains(stdout, one) && !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, one) }) {
				t.Errorf("it tells of %q:\n%s", one, stdout)
			}
		}
	}
	says("proxy on vm1, vm2: running\n")

	for range 2 {
		before := w.restarts("vm3", "shop-job-v1")
		w.hosts["vm3"].Engine.Crash("shop-job-v1", 4)
		w.until("the engine starts it again", func() bool {
			return w.restarts("vm3", "shop-job-v1") > before && slices.Contains(w.runsOn("vm3"), "shop-job-v1")
		})
	}
	says("running, healthy, 2 restarts")

	w.exits(exit.OK, "proxy", "stop", "--hosts", "vm1")
	stdout, _ := w.exits(exit.OK, "status")
	for _, want := range []string{"proxy on vm1: exited\n", "proxy on vm2: running\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	w.exits(exit.OK, "proxy", "start")

	w.deploy("v2")
	w.forget()
	w.stages("v3", "assets", "env-push", "boot")
	says("version v3 (", "has not served: it is under way\n")
	w.exits(exit.OK, "abort")
	says("version v3 (", "has not served: it was aborted\n")
	report := w.statusReport()
	if u := report.Unserved; u == nil || u.Version != "v3" || u.UnderWay || u.Stage != "abort" || len(report.Proxies) != 2 {
		t.Errorf("got unserved %+v and %d proxies, want v3 and 2", u, len(report.Proxies))
	}
	w.forget()
	w.deploy("v4")
	says("proxy on vm1, vm2: running\n")

	w.stages("v5", "assets", "env-push", "boot")
	w.exits(exit.OK, "lock", "release", "--force")
	says("version v5 (", "has not served: boot is done, and no stage has come after it\n")
	w.forget()
	w.needsDevice("web")
	w.exits(exit.BarrierClosed, w.deployArgs("v6")...)
	says("version v6 (", "has not served: boot failed", "barrier closed: web@vm1: ", device)
}

// restarts is how often an engine has started a container again.
func (w *world) restarts(hostName, name string) int {
	w.t.Helper()
	c, err := w.hosts[hostName].Look().Inspect(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Restarts
}
