//go:build integration

package integration

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

var (
	faultsStep = flag.Int("faults-step", 0, "break one in so many remote operations; 0 breaks a single one")
	faultsOut  = flag.String("faults-out", "", "write what was measured to this file, as JSON")
)

// TestFaults_KilledOrCutOffUnderLoadEveryStageConverges breaks the stages that
// touch containers and traffic at their remote operations, on real hosts under
// a request loop, by kill -9 and by losing the answer to a request that was
// sent. Each is run again and the release finished: what is on the hosts must
// then be what an undisturbed release leaves, with no request lost on the way.
// Each release gets the fault in all of these stages, one after the other.
func TestFaults_KilledOrCutOffUnderLoadEveryStageConverges(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var rows []*faultRow
	t.Cleanup(func() { writeRows(t, rows) })
	kinds := [][]string{{"kill"}, {"cut-after"}} // Side by side, as far as there are rigs.
	if *faultsStep == 0 {
		kinds = [][]string{{"kill", "cut-after"}}
	}
	for name, s := range switches() {
		if *faultsStep == 0 && name == "cord" {
			continue // A sample is for `make test`.
		}
		for _, some := range kinds {
			t.Run(name+" "+strings.Join(some, " "), func(t *testing.T) {
				t.Parallel()
				b := newBroken(t, s.with(name))
				for _, kind := range some {
					b.everywhere(kind)
				}
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, b.rows...)
			})
		}
	}
}

// everywhere breaks release after release, each at a later operation.
func (b *broken) everywhere(kind string) {
	b.t.Helper()
	if b.want == "" {
		b.want = b.release("")
	}
	tried := 0
	for at, more := cmp.Or(*faultsStep, sampled), true; more; at += *faultsStep {
		got := b.release(fmt.Sprintf("%s:%d", kind, at))
		b.t.Logf("%s at operation %d of %v", kind, at, b.hit)
		tried += len(b.hit)
		more = *faultsStep > 0 && len(b.hit) > 0 // Else no stage has so many operations.
		if diff := b.want.Diff(got); diff != "" {
			b.t.Errorf("%s at operation %d of %v: the hosts differ from an undisturbed release:\n%s\n%s", kind, at, b.hit, diff, b.said.String())
			b.want = b.release("") // What differs may stay until it is pruned.
		}
	}
	if tried == 0 {
		b.t.Errorf("no stage was hit by %s", kind)
	}
}

// writeRows writes what was measured, if a file is given.
func writeRows(t *testing.T, rows []*faultRow) {
	t.Helper()
	if *faultsOut == "" {
		return
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err == nil {
		err = os.WriteFile(*faultsOut, data, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// sampled is an operation that all of the stages get to, in their middle.
const sampled = 23

// brokenStages are the stages that get faults here. All of them have theirs on
// the hosts that are not there, in cmd/kstep.
func brokenStages() []string { return []string{"boot", "barrier-wait", "cutover", "prune"} }

// faultRow is what came of the faults in one stage, with one switch.
type faultRow struct {
	Traffic   string         `json:"traffic"`
	Stage     string         `json:"stage"`
	Tried     map[string]int `json:"tried"` // By kind.
	Converged int            `json:"converged"`
	Sent      int64          `json:"sent"`
	Lost      int64          `json:"lost"`
}

// broken is a service under load that is released again and again, with faults.
type broken struct {
	*world
	load   *rig.Traffic
	images []string // The app's, in turn.
	count  int
	rows   []*faultRow
	want   rig.Snapshot // What an undisturbed release leaves.

	// Of the last release:
	kind string
	hit  []string // The stages in which the fault happened.
	said strings.Builder
}

const faultyProgram = "kstep-with-faults"

func newBroken(t *testing.T, s settings) *broken {
	t.Helper()
	s.extra += "retain: 1\n"
	b := &broken{world: begin(t, s)}
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "faults", "-o", b.rig.Deployer.Path(faultyProgram), "../cmd/kstep")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, version := range []string{"v1", "v2", "v3"} {
		b.commit(s.version(version, ""))
		b.must("build")
		b.must("push")
		outputs := b.state("push")["outputs"].(map[string]any)
		b.images = append(b.images, fmt.Sprintf("%s@%s", outputs["repository"], outputs["digest"]))
	}
	for _, stage := range brokenStages() {
		b.rows = append(b.rows, &faultRow{Traffic: cmp.Or(s.switchTo, "routes"), Stage: stage, Tried: map[string]int{}})
	}
	b.release("")
	b.release("") // From here on each release leaves the same: the one before it stays.
	var err error
	if b.load, err = b.rig.StartTraffic(t.Context(), rig.Load{
		Pace: 40 * time.Millisecond, Slow: 1, SlowFor: 200 * time.Millisecond, For: time.Hour, Limit: 5_000_000,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.load.Stop() })
	return b
}

// release takes the next version through all stages, with the fault in those
// that can be broken, and returns what is on the hosts afterwards.
func (b *broken) release(fault string) rig.Snapshot {
	b.t.Helper()
	b.count++
	b.hit, b.said = nil, strings.Builder{}
	b.kind, _, _ = strings.Cut(fault, ":")
	b.must("push", "--image", b.images[b.count%len(b.images)], "--version", b.name(b.count))
	for _, stage := range allStages()[2:] {
		if at := slices.Index(brokenStages(), stage); at >= 0 && fault != "" {
			b.disturb(b.rows[at], fault)
			continue
		}
		b.must(stage)
	}
	now := b.look()
	b.lap(nil)
	return now
}

// disturb runs the stage with the fault, and again without.
func (b *broken) disturb(row *faultRow, fault string) {
	b.t.Helper()
	b.lap(nil)
	run, err := b.rig.Deployer.Run(b.t.Context(), []string{"KSTEP_FAULT=" + fault}, b.app.Work, "/work/"+faultyProgram, row.Stage)
	if err != nil {
		b.t.Fatal(err)
	}
	happened := strings.Contains(run.Stderr, "fault: ")
	fmt.Fprintf(&b.said, "kstep %s with %s: exit status %d\n%s", row.Stage, fault, run.Exit, run.Stderr)
	switch {
	case !happened && run.Exit != 0:
		b.t.Fatalf("%s failed without a fault\n%s", row.Stage, b.said.String())
	case happened && b.kind == "kill" && run.Exit != 137:
		b.t.Errorf("%s was killed, and ended with %d", row.Stage, run.Exit)
	}
	again := b.kstep(row.Stage)
	fmt.Fprintf(&b.said, "kstep %s again: exit status %d\n%s", row.Stage, again.Exit, again.Stderr)
	if again.Exit != 0 {
		b.t.Fatalf("%s does not converge\n%s", row.Stage, b.said.String())
	}
	if happened {
		b.hit = append(b.hit, row.Stage)
		row.Tried[b.kind]++
		row.Converged++
	}
	b.lap(row)
}

// lap expects that no request was lost since the last one.
func (b *broken) lap(row *faultRow) {
	b.t.Helper()
	if b.load == nil {
		return
	}
	sum := b.load.Lap()
	if sum.Failed > 0 {
		b.t.Errorf("%d of %d requests failed\n%s%s", sum.Failed, sum.Total, sum, b.said.String())
	}
	if row != nil {
		row.Sent += int64(sum.Total)
		row.Lost += int64(sum.Failed)
	}
}

func (b *broken) name(count int) string { return fmt.Sprintf("f%04d", count) }
