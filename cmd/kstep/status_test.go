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

// TestStatus_AndReleasesGoByOneRule: what rollback would not find is not told as
// retained, though it once served.
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
