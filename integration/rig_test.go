//go:build integration

package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// takeRig waits for a rig that the test has for itself. A test never takes a
// second one, nor do its subtests: those that wait for one could wait for ever.
func takeRig(t *testing.T) *rig.Rig {
	t.Helper()
	r, done, err := rig.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return r
}

// freshRig is a rig with nothing deployed.
func freshRig(t *testing.T) *rig.Rig {
	t.Helper()
	r := takeRig(t)
	if err := r.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRig_LoadBalancerAnswers502BeforeTheFirstDeploy(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	resp, err := http.Get(r.LoadBalancerURL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Errorf("got %s, want 502", resp.Status)
	}
}

func TestRig_RegistryAnswersAndAsksForALoginWhereItShould(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	const user = rig.RegistryUser + ":" + rig.RegistryPassword
	for url, want := range map[string]string{
		"http://" + rig.Registry + "/v2/":                       "200",
		"http://" + rig.AuthRegistry + "/v2/":                   "401",
		"http://" + user + "@" + rig.AuthRegistry + "/v2/":      "200",
		"http://" + rig.Registry + "/v2/traefik/manifests/v3.6": "200",
	} {
		got, err := r.Deployer.Run(t.Context(), nil, ".", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url)
		if err != nil {
			t.Fatal(err)
		}
		if got.Stdout != want {
			t.Errorf("%s: got %s, want %s", url, got.Stdout, want)
		}
	}
}

func TestRig_DeployerReachesEachHostBySSH(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	for login, want := range map[string]int{"vm1": 0, "vm2": 0, "vm3": 0, r.Host("vm3").Addr: 0, "deploy@vm3": 0, "nodocker@vm3": 1} {
		got, err := r.Deployer.Run(t.Context(), nil, ".", "ssh", "-o", "BatchMode=yes", login, "docker ps")
		if err != nil {
			t.Fatal(err)
		}
		if got.Exit != want {
			t.Errorf("docker ps as %s: got exit %d, want %d\n%s", login, got.Exit, want, got.Stderr)
		}
	}
}

func TestRig_HostsRunTraefikAndTheSampleApp(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	image := pushApp(t, r, rig.AppVersion{Version: "one"})
	for _, h := range r.Hosts {
		mustExec(t, h, "docker", "pull", "-q", rig.TraefikImage)
		mustExec(t, h, "docker", "run", "-d", "--name", "proxy", rig.TraefikImage, "--ping=true")
		mustExec(t, h, "docker", "run", "-d", "--name", "app", "--restart", "unless-stopped",
			"-p", "80:3000", "-e", "KSTEP_HOST="+h.Name, image)
	}
	traffic, err := r.StartTraffic(t.Context(), rig.Load{URLs: []string{r.Host("vm1").URL(), r.LoadBalancerURL()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := traffic.WaitTotal(t.Context(), 500); err != nil {
		t.Error(err)
	}
	sum := traffic.Stop()
	if sum.Failed > 0 || sum.Versions["one"].Count != sum.Total {
		t.Errorf("got %s, want each request answered by version one", sum)
	}
}

func TestRig_KilledContainerAndRestartedEngineServeAgain(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	image := pushApp(t, r, rig.AppVersion{Version: "one"})
	h := r.Host("vm1")
	mustExec(t, h, "docker", "run", "-d", "--name", "app", "--restart", "unless-stopped", "-p", "80:3000", image)
	for name, disturb := range map[string]func() error{
		"kill":        func() error { return h.KillContainerProcess(t.Context(), "app") },
		"restart":     func() error { return h.RestartEngine(t.Context()) },
		"power cycle": func() error { return h.PowerCycle(t.Context()) },
	} {
		before, err := h.Container(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		if err := disturb(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		awaitRestart(t, h, before)
	}
}

func TestRig_SnapshotsDifferExactlyWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	mustExec(t, r.Host("vm2"), "mkdir", "-p", "/root/.kstep/app")
	before := mustSnapshot(t, r)
	if again := mustSnapshot(t, r); again != before {
		t.Errorf("nothing changed, got\n%s", before.Diff(again))
	}
	mustExec(t, r.Host("vm2"), "touch", "/root/.kstep/app/file")
	diff := before.Diff(mustSnapshot(t, r))
	if !strings.Contains(diff, "+ vm2 file /root/.kstep/app/file f ") {
		t.Errorf("got\n%s\nwant the new file", diff)
	}
}

func TestRig_TrafficCountsFailuresAndNamesThem(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	traffic, err := r.StartTraffic(t.Context(), rig.Load{URLs: []string{r.LoadBalancerURL()}, Slow: -1, Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	if err := traffic.WaitTotal(t.Context(), 50); err != nil {
		t.Error(err)
	}
	sum := traffic.Stop()
	if sum.Total != 50 || sum.Failed != 50 || !strings.Contains(sum.Failures[0].Reason, "502") {
		t.Errorf("got %s, want 50 requests, each failed with 502", sum)
	}
	if _, err := r.StartTraffic(t.Context(), rig.Load{URLs: []string{"http://192.0.2.1"}}); err == nil {
		t.Error("got traffic to a foreign address, want it refused")
	}
}

func TestRig_ASignalReachesTheCommandInTheDeployer(t *testing.T) {
	t.Parallel()
	r := freshRig(t)
	p, err := r.Deployer.Start(t.Context(), []string{"WORD=hello"}, ".", "bash", "-c",
		`trap 'echo $WORD; exit 130' INT; while :; do sleep 0.05; done`)
	if err != nil {
		t.Fatal(err)
	}
	// The trap has to be set before the signal comes.
	time.Sleep(500 * time.Millisecond)
	if err := p.Signal(t.Context(), "INT"); err != nil {
		t.Fatal(err)
	}
	got, err := p.Wait()
	if err != nil || got.Exit != 130 || got.Stdout != "hello\n" {
		t.Errorf("got %+v, %v, want exit 130 and hello", got, err)
	}
}

// pushApp builds the sample app in the deployer and pushes it with the engine
// outside, which reaches the registry by loopback.
func pushApp(t *testing.T, r *rig.Rig, v rig.AppVersion) string {
	t.Helper()
	app, err := r.NewApp("smoke", v)
	if err != nil {
		t.Fatal(err)
	}
	local := r.LocalRegistry() + "/smoke"
	for _, argv := range [][]string{{"docker", "build", "-q", "-t", local, "."}, {"docker", "push", "-q", local}} {
		got, err := r.Deployer.Run(t.Context(), nil, app.Work, argv...)
		if err != nil || got.Exit != 0 {
			t.Fatalf("%v: %v, exit %d\n%s", argv, err, got.Exit, got.Stderr)
		}
	}
	return rig.Registry + "/smoke"
}

// awaitRestart waits until another process than before answers.
func awaitRestart(t *testing.T, h *rig.Host, before rig.Container) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now, err := h.Container(t.Context(), before.Name)
		if err != nil || !now.State.Running || now.State.StartedAt.Equal(before.State.StartedAt) {
			continue
		}
		resp, err := http.Get(h.URL())
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("%s on %s does not serve again", before.Name, h.Name)
}

func mustExec(t *testing.T, h *rig.Host, argv ...string) {
	t.Helper()
	if _, err := h.Exec(t.Context(), argv...); err != nil {
		t.Fatal(err)
	}
}

func mustSnapshot(t *testing.T, r *rig.Rig) rig.Snapshot {
	t.Helper()
	s, err := r.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
