//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func TestLease_AStoppedPipelineChangesNothingAfterANewerOne(t *testing.T) {
	t.Parallel()
	s := settings{extra: "lease: {ttl: 4s}\nhealthcheck: {interval: 1s}\n"}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	w.commit(s.version("v2", ""))
	answered := w.slowRequests(4, 5*time.Second) // The cutover drains them.
	older := w.start("deploy")
	w.reaches(older, "cutover")
	time.Sleep(300 * time.Millisecond) // Into the stage, wherever that is.
	if err := older.Signal(t.Context(), "STOP"); err != nil {
		t.Fatal(err)
	}

	if sent, failed := answered(); len(failed) > 0 {
		t.Errorf("of %d slow requests, these failed: %v", sent, failed)
	}
	newer := *w
	app, err := w.rig.NewApp("newer", s.version("v3", ""))
	if err != nil {
		t.Fatal(err)
	}
	newer.app = app
	if r := newer.must("deploy", "--wait", "2m"); !strings.Contains(r.Stderr, "took over the expired lease of release") {
		t.Errorf("the take-over is not told:\n%s", r.Stderr)
	}
	w.serves("v3")

	before := w.snapshot()
	if err := older.Signal(t.Context(), "CONT"); err != nil {
		t.Fatal(err)
	}
	r, err := older.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if r.Exit != 20 {
		t.Errorf("the older pipeline ends with %d, want 20\n%s", r.Exit, r.Stderr)
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("the older pipeline changed the hosts after it woke up:\n%s", diff)
	}
	w.serves("v3")
	w.lostNothing(load, 1000)
}

func TestLease_TellsWhoHoldsItAndWhoWaits(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	w.must("build")
	w.must("push")
	w.must("lock", "acquire", "-m", "mending the database", "--for", "15s")
	if r := w.exits(20, "deploy"); !strings.Contains(r.Stderr, "mending the database") {
		t.Errorf("the refusal does not tell why:\n%s", r.Stderr)
	}
	w.must("deploy", "--wait", "1m")
	w.serves("v1")
}

func TestShards_ByMatrixInProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	for _, stage := range []string{"build", "push"} {
		w.must(stage)
	}
	for _, stage := range allStages()[2:] {
		shards := []*rig.Process{
			w.start(stage, "--roles", "web", "--hosts", "vm1"),
			w.start(stage, "--roles", "web", "--hosts", "vm2"),
			w.start(stage, "--roles", "job"),
		}
		for _, p := range shards {
			if r, err := p.Wait(); err != nil || r.Exit != 0 {
				t.Fatalf("%s: exit status %d, %v\n%s", stage, r.Exit, err, r.Stderr)
			}
		}
	}
	w.serves("v1")
	if r := w.must("lock", "status"); !strings.HasPrefix(r.Stdout, "free") {
		t.Errorf("after the last shard of prune the lease is %q, want free", r.Stdout)
	}
}
