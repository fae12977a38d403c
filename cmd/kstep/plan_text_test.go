package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstep/kstep/internal/state"
)

func TestPlanText_TellsOnceWhatIsTheSameOnSeveralHosts(t *testing.T) {
	t.Parallel()
	start := []state.PlannedChange{{Mark: "+", Do: "start shop-web-" + strings.Repeat("ab", 20)}}
	p := state.Plan{
		Service: "shop", Version: "v2", Changes: 4,
		Stages: []state.PlannedStage{
			{Stage: "push"},
			{Stage: "boot", Targets: []state.PlannedTarget{
				{Host: "vm1", Role: "web", Changes: start}, {Host: "vm2", Role: "web", Changes: start},
				{Host: "vm3", Role: "job", Notes: []string{"its size"}},
				{Host: "a-host-with-a-name.of-some-length.example.com", Role: "job", Changes: []state.PlannedChange{{Mark: "-", Do: "stop it", Detail: []string{"~ more"}}}},
				{Host: "vm5", Role: "web", Error: &state.Error{Message: "broken\nin two"}},
			}},
			{Stage: "prune", Targets: []state.PlannedTarget{{Changes: start}}},
		},
	}
	want := `shop, version v2: a new release
lease: free

push          nothing to do
boot          web on vm1, vm2               + start shop-web-abababa
              job on vm3                    ? its size
              job on a-host-with-a-name.of-some-length.example.com
                                            - stop it
                                                ~ more
              web on vm5                    ! broken
                                              in two
prune                                       + start shop-web-abababa

4 changes on 3 hosts; nothing was changed
`
	if diff := cmp.Diff(want, planText(p, false)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if text := planText(p, true); !strings.Contains(text, "\x1b[32m+ start") || !strings.Contains(text, "\x1b[31m- stop it\x1b[0m") {
		t.Errorf("on a terminal the changes have no colours:\n%q", text)
	}
}

func TestPlanText_SaysOnlyOnceThatThereIsNothingToDo(t *testing.T) {
	t.Parallel()
	p := state.Plan{
		Service: "shop", Destination: "staging", Version: "v2", Begun: true, Release: "01M83AQ5ZDX6ATWRYW156DCVK0",
		Lease:  &state.PlanLease{Own: true},
		Stages: []state.PlannedStage{{Stage: "push"}, {Stage: "boot"}},
	}
	want := `shop at staging, version v2: release 01M83AQ5ZDX6ATWRYW156DCVK0 of 2026-11-23 04:30 UTC
lease: held by this release

nothing to do
`
	if diff := cmp.Diff(want, planText(p, false)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}
