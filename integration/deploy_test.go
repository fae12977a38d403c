//go:build integration

package integration

import (
	"strings"
	"testing"
)

func TestDeploy_FirstVersionTurns502Into200OnEveryHost(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	if status, _ := w.get(w.rig.LoadBalancerURL()); status != 502 {
		t.Errorf("before the first deploy the load balancer answers %d, want 502", status)
	}
	w.stagewise()
	w.serves("v1")
	if jobs := w.running("vm3"); len(jobs) != 1 || !strings.HasPrefix(jobs[0], "shop-job-") {
		t.Errorf("vm3 runs %v, want one worker", jobs)
	}
}

func TestStages_RunAgainChangeNothing(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	w.stagewise()
	before := w.snapshot()
	for _, stage := range allStages() {
		w.must(stage)
		if got := w.state(stage)["status"]; got != "unchanged" {
			t.Errorf("%s run again says %v, want unchanged", stage, got)
		}
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("running the stages again changed the hosts:\n%s", diff)
	}
}
