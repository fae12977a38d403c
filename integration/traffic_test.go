//go:build integration

package integration

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// switches are the two ways to move traffic. The cord needs a shell in the
// image: its health check is a script.
func switches() map[string]settings {
	return map[string]settings{
		"routes": {},
		"cord":   {extra: "", shell: true},
	}
}

func (s settings) with(name string) settings {
	if name == "cord" {
		s.extra += "healthcheck: {interval: 1s}\n"
		s.switchTo = "cord"
	}
	return s
}

// requests is how many a test of zero loss sends at least, with either switch.
const requests = 10_000

func TestDeploy_LosesNoRequestThroughDeployRedeployAndRollback(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			w := begin(t, s.replicas(2))
			w.ignore("/one.yml")
			w.write("one.yml", s.replicas(1).yaml())
			w.stagewise()
			w.eachHostRuns(2)
			load := w.load(rig.Load{Pace: 40 * time.Millisecond})

			w.commit(s.replicas(3).version("v2", ""))
			w.must("build")
			w.must("push")
			w.must("assets")
			w.must("env-push")
			w.must("boot")
			w.must("barrier-wait")
			if sum := load.Summary(); sum.Versions["v2"].Count > 0 {
				t.Errorf("%d requests were answered by v2 before cutover, want 0", sum.Versions["v2"].Count)
			}
			w.must("cutover")
			w.serves("v2")
			w.probed()
			w.must("prune")
			w.eachHostRuns(3)
			w.must("-c", "one.yml", "redeploy")
			w.eachHostRuns(1)
			began := time.Now()
			w.must("rollback")
			t.Logf("the rollback took %s, slow requests in flight included", time.Since(began))
			w.serves("v1")
			w.eachHostRuns(2)
			sum := w.lostNothing(load, requests)
			if sum.Kinds["slow"] == 0 || sum.Kinds["kept"] == 0 || sum.Kinds["fresh"] == 0 {
				t.Errorf("requests by kind: %v, want some of each", sum.Kinds)
			}
		})
	}
}

// eachHostRuns expects so many replicas on each web host, all of which get
// traffic.
func (w *world) eachHostRuns(n int) {
	w.t.Helper()
	for _, host := range []string{"vm1", "vm2"} {
		all := w.running(host)
		if len(all) != n {
			w.t.Errorf("%s runs %v, want %d replicas", host, all, n)
		}
		answered := map[string]bool{}
		w.eventually(func() error {
			_, name := w.get(w.rig.Host(host).URL() + "/env/KSTEP_CONTAINER_NAME")
			if answered[name] = true; len(answered) < len(all) {
				return fmt.Errorf("of %v on %s only %v answer", all, host, answered)
			}
			return nil
		})
		if got := slices.Sorted(maps.Keys(answered)); !slices.Equal(got, all) {
			w.t.Errorf("on %s %v answer, want %v", host, got, all)
		}
	}
}

// probed expects cutover to have counted requests of its own, none failed.
func (w *world) probed() {
	w.t.Helper()
	targets := w.state("cutover")["outputs"].(map[string]any)["targets"].(map[string]any)
	for _, key := range []string{"web@vm1", "web@vm2"} {
		probe, ok := targets[key].(map[string]any)["probe"].(map[string]any)
		if !ok || probe["requests"].(float64) == 0 || probe["failed"].(float64) != 0 {
			w.t.Errorf("%s: probe %v, want requests and no failure", key, probe)
		}
	}
}

func TestHosts_ServeAgainByThemselvesAfterCrashAndEngineRestart(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, s.with(name))
			w.must("deploy")
			vm1, vm2 := w.rig.Host("vm1"), w.rig.Host("vm2")
			if err := vm1.KillContainerProcess(t.Context(), w.running("vm1")[0]); err != nil {
				t.Fatal(err)
			}
			if err := vm2.RestartEngine(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.eventually(func() error {
				for _, h := range []*rig.Host{vm1, vm2} {
					if status, body := w.get(h.URL() + "/"); status != 200 {
						return fmt.Errorf("%s answers %d %q", h.Name, status, body)
					}
				}
				return nil
			})
			w.serves("v1")
		})
	}
}
