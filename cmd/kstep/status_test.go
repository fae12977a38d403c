package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestStatus_TellsWhatTheHostsDo(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.deploy("v2")
			w.pushed("v3")
			for _, stage := range []string{"assets", "env-push", "boot"} {
				w.exits(exit.OK, stage)
			}
			w.forget() // It needs no state.
			stdout, _ := w.exits(exit.OK, "status", "--output", "json")
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			var sum statusReport
			for _, line := range lines { // The events of the report are on stdout too.
				if strings.HasPrefix(line, `{"service"`) {
					if err := json.Unmarshal([]byte(line), &sum); err != nil {
						t.Fatal(err)
					}
				}
			}
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
			stdout, _ = w.exits(exit.OK, "status")
			if !strings.Contains(stdout, "lease: free") || strings.Contains(stdout, "v3") {
				t.Errorf("after the abort it still shows it:\n%s", stdout)
			}
		})
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
