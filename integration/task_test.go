//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"
)

// migration notes on the host that it ran, waits for its sign, and fails in v2.
const migration = `volumes: [task-runs:/runs]
tasks:
  migrate:
    cmd: [sh, -c, "echo $KSTEP_VERSION >>/runs/ran; echo half; until [ -e /runs/go ]; do sleep 0.1; done; echo whole; [ $(cat /app/version) != v2 ]"]
`

func TestTasks_RunOnceAlthoughTheRunnerIsKilledAndNothingBootsWhenOneFails(t *testing.T) {
	t.Parallel()
	s := settings{extra: migration, shell: true}
	w := begin(t, s)
	killed := w.start("deploy")
	w.eventually(func() error {
		_, err := w.rig.Host("vm1").ContainerLogs(t.Context(), "shop-task-migrate-"+w.head())
		return err
	})
	if err := killed.Signal(t.Context(), "KILL"); err != nil {
		t.Fatal(err)
	}
	if _, err := killed.Wait(); err != nil {
		t.Fatal(err)
	}
	mustExec(t, w.rig.Host("vm1"), "touch", "/var/lib/docker/volumes/task-runs/_data/go")
	again := w.must("deploy")
	for _, want := range []string{"following shop-task-migrate-" + w.head(), "half", "whole", "ran task migrate"} {
		if !strings.Contains(again.Stderr, want) {
			t.Errorf("the output does not tell %q:\n%s", want, again.Stderr)
		}
	}
	w.serves("v1")
	first := w.head()
	w.ran(first)

	load := w.traffic()
	second := w.commit(s.version("v2", ""))
	r := w.exits(10, "deploy")
	if !strings.Contains(r.Stderr, "task migrate failed with exit status 1") {
		t.Errorf("the output does not tell what failed:\n%s", r.Stderr)
	}
	for host, role := range map[string]string{"vm1": "web", "vm2": "web", "vm3": "job"} {
		if c := w.live(host); c.Name != "shop-"+role+"-"+first {
			t.Errorf("%s runs %s, want nothing of the new version", host, c.Name)
		}
	}
	w.serves("v1")
	w.lostNothing(load, 500)
	w.ran(first, second)
}

// ran expects the versions that a task ran in, once each.
func (w *world) ran(want ...string) {
	w.t.Helper()
	out, err := w.rig.Host("vm1").Exec(w.t.Context(), "cat", "/var/lib/docker/volumes/task-runs/_data/ran")
	if err != nil {
		w.t.Fatal(err)
	}
	if got := strings.Fields(out); !slices.Equal(got, want) {
		w.t.Errorf("the task ran in %v, want %v", got, want)
	}
}
