//go:build integration

// Package integration tests what kstep promises, on real hosts: separate
// processes, real engines, real sshd, a real registry and a real proxy. Tests
// judge from outside, by HTTP answers and by what runs on the hosts.
package integration

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// allStages are the stages in order, as a CI system runs them.
func allStages() []string {
	return []string{"build", "push", "assets", "env-push", "boot", "barrier-wait", "cutover", "prune"}
}

// world is the rig with one app on it, fresh for each test.
type world struct {
	t   *testing.T
	rig *rig.Rig
	app *rig.App
}

// settings are what a test's kstep.yml varies.
type settings struct {
	service string
	extra   string // More of kstep.yml.
	shell   bool   // The image has a shell, as the cord needs.
	web     int    // Replicas of the web role, if it is not one.

	switchTo string // How traffic moves, if not by routes.
	proxy    string // More keys of the proxy, such as ", hosts: [a]".
	only     string // The one host of the web role; usually vm1 and vm2.
	direct   bool   // There is no registry.
}

func (s settings) yaml() string {
	service, web := cmp.Or(s.service, "shop"), "[vm1, vm2]"
	if s.only != "" {
		web = "[" + s.only + "]"
	}
	if s.web > 1 {
		web = fmt.Sprintf("{hosts: [vm1, vm2], replicas: %d}", s.web)
	}
	registry := fmt.Sprintf("image: acme/%s\nregistry: {server: \"%s\", insecure: true}", service, rig.Registry)
	if s.direct {
		registry = "# The image goes to the hosts."
	}
	return fmt.Sprintf(`service: %s
%s
servers:
  web: %s
  job:
    hosts: [vm3]
    cmd: /app/bin work
    healthcheck: {settle: 1s}
asset_path: /app/public/assets
proxy: {image: "%s", switch: %s%s}
%s`, service, registry, web, rig.TraefikImage, cmp.Or(s.switchTo, "routes"), s.proxy, s.extra)
}

func (s settings) replicas(n int) settings {
	s.web = n
	return s
}

func (s settings) version(name, flags string) rig.AppVersion {
	return rig.AppVersion{
		Version: name, Flags: flags, Shell: s.shell,
		Files: map[string]string{"kstep.yml": s.yaml(), ".gitignore": "kstep-state/\n"},
	}
}

// begin empties the hosts and makes a checkout of the app's first version.
func begin(t *testing.T, s settings) *world {
	t.Helper()
	r := freshRig(t)
	app, err := r.NewApp("app", s.version("v1", ""))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, rig: r, app: app}
	t.Cleanup(w.tellOnFailure)
	return w
}

// tellOnFailure prints what a person would look at first.
func (w *world) tellOnFailure() {
	if !w.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 20*time.Second)
	defer cancel()
	for _, h := range w.rig.Hosts {
		containers, err := h.Containers(ctx)
		w.t.Logf("%s: %v", h.Name, err)
		for _, c := range containers {
			logs, _ := h.ContainerLogs(ctx, c.ID)
			lines := strings.Split(strings.TrimSpace(logs), "\n")
			w.t.Logf("  %s %s (restarts %d): %s", c.Name, c.State.Status, c.RestartCount, strings.Join(lines[max(0, len(lines)-5):], "\n    "))
		}
	}
}

// kstep runs one process in the deployer, in the app's checkout.
func (w *world) kstep(args ...string) rig.Result {
	w.t.Helper()
	return w.kstepWith(nil, args...)
}

func (w *world) kstepWith(env []string, args ...string) rig.Result {
	w.t.Helper()
	result, err := w.rig.Deployer.Run(w.t.Context(), env, w.app.Work, append([]string{"kstep"}, args...)...)
	if err != nil {
		w.t.Fatalf("kstep %s: %v", strings.Join(args, " "), err)
	}
	return result
}

// must runs kstep and expects exit status 0.
func (w *world) must(args ...string) rig.Result {
	w.t.Helper()
	return w.exits(0, args...)
}

// exits runs kstep and expects an exit status.
func (w *world) exits(want int, args ...string) rig.Result {
	w.t.Helper()
	r := w.kstep(args...)
	if r.Exit != want {
		w.t.Fatalf("kstep %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), r.Exit, want, r.Stdout, r.Stderr)
	}
	return r
}

// stagewise runs every stage as a process of its own.
func (w *world) stagewise() {
	w.t.Helper()
	for _, stage := range allStages() {
		w.must(stage)
	}
}

// commit makes the next version of the app and returns its commit.
func (w *world) commit(v rig.AppVersion) string {
	w.t.Helper()
	hash, err := w.app.Commit(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return hash
}

// head is the commit of the checkout.
func (w *world) head() string {
	w.t.Helper()
	hash, err := w.app.Git("rev-parse", "HEAD")
	if err != nil {
		w.t.Fatal(err)
	}
	return hash
}

// eventually waits for something that happens without kstep.
func (w *world) eventually(check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// state reads a stage's state file.
func (w *world) state(stage string) map[string]any {
	w.t.Helper()
	data, err := os.ReadFile(w.app.Dir + "/kstep-state/" + stage + ".json")
	if err != nil {
		w.t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// get sends one request, and returns status and body.
func (w *world) get(url string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// serves expects an answer of that version from every web host and through
// the load balancer.
func (w *world) serves(version string) {
	w.t.Helper()
	for _, url := range []string{w.rig.Host("vm1").URL(), w.rig.Host("vm2").URL(), w.rig.LoadBalancerURL()} {
		if status, body := w.get(url + "/"); status != 200 || !strings.HasPrefix(body, "version "+version+" ") {
			w.t.Errorf("%s answers %d %q, want version %s", url, status, body, version)
		}
	}
}

// running lists the names of a host's running containers, without the proxy.
func (w *world) running(host string) []string {
	w.t.Helper()
	containers, err := w.rig.Host(host).Containers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, c := range containers {
		if name := strings.TrimPrefix(c.Name, "/"); c.State.Running && name != "kstep-proxy" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// runs expects exactly these containers to run on a host.
func (w *world) runs(host string, want ...string) {
	w.t.Helper()
	if got := w.running(host); !slices.Equal(got, want) {
		w.t.Errorf("%s runs %v, want %v", host, got, want)
	}
}

// traffic starts a request loop over both hosts and the load balancer, at a
// pace that leaves the machine some time for the rigs beside this one.
func (w *world) traffic() *rig.Traffic {
	w.t.Helper()
	return w.load(rig.Load{Pace: 100 * time.Millisecond})
}

// load starts a request loop.
func (w *world) load(l rig.Load) *rig.Traffic {
	w.t.Helper()
	load, err := w.rig.StartTraffic(w.t.Context(), l)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { load.Stop() })
	return load
}

// lostNothing ends the loop after at least n requests and expects none to have
// failed.
func (w *world) lostNothing(load *rig.Traffic, n int) rig.Summary {
	w.t.Helper()
	if err := load.WaitTotal(w.t.Context(), n); err != nil {
		w.t.Error(err)
	}
	sum := load.Stop()
	w.t.Log(sum)
	if sum.Failed > 0 || sum.Total < n {
		w.t.Errorf("%d of %d requests failed, want 0 of at least %d", sum.Failed, sum.Total, n)
	}
	return sum
}

// snapshot is all that a deploy could have changed on the hosts. Leases are
// left out: a heartbeat is their purpose.
func (w *world) snapshot() rig.Snapshot {
	w.t.Helper()
	s, err := w.rig.Snapshot(w.t.Context(), "/lease")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}
