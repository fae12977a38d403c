//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// slowly gives a cutover time for requests that are in flight.
const slowly = "cutover: {drain: 20s}\nbarrier: {timeout: 20s}\n"

func TestInterrupt_ParksTheDeployAndARerunFinishesIt(t *testing.T) {
	t.Parallel()
	s := settings{extra: slowly}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	serving := "v1"
	for i, c := range []struct {
		stage, signal string
		exit          int
	}{
		{"build", "INT", 130}, {"boot", "TERM", 143}, {"cutover", "INT", 130}, // The others are interrupted below.
	} {
		next := fmt.Sprintf("v%d", i+2)
		w.commit(s.version(next, "boot=1s"))
		answered := w.slowRequests(map[string]int{"cutover": 2}[c.stage], 8*time.Second) // What makes a cutover last.
		before := w.state("build")["release"]
		p := w.start("deploy")
		w.reaches(p, c.stage)
		time.Sleep(100 * time.Millisecond) // Into the stage, wherever that is.
		r := w.parks(p, c.signal, c.exit)
		if sent, failed := answered(); len(failed) > 0 {
			t.Errorf("%s: of %d slow requests, these failed: %v", c.stage, sent, failed)
		}
		// The signal may take so long that this stage was done, and the next one about
		// to begin. The first one looks at the hosts before it begins a release.
		at := lastStage(r)
		done := strings.Contains(r.Stderr[strings.LastIndex(r.Stderr, at+"\n"):], "ok in ")
		if now := w.state(at); !done && now["status"] != "interrupted" && now["release"] != before && now["release"] == w.state("build")["release"] {
			t.Errorf("%s.json says %v, want interrupted", at, now["status"])
		}
		if at != "cutover" && at != "prune" {
			w.serves(serving)
		}
		w.must("deploy")
		w.serves(next)
		w.live("vm1")
		w.live("vm3")
		serving = next
	}
	w.lostNothing(load, 1000)
}

func TestInterrupt_OfSingleStagesParksThem(t *testing.T) {
	t.Parallel()
	s := settings{extra: slowly}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	w.commit(s.version("v2", "boot=1s"))
	for _, stage := range allStages() {
		before := w.state(stage)["release"]
		p := w.start(stage)
		w.reaches(p, stage)
		// A stage that is done already has nothing to park, nor has one that did
		// not know its release yet.
		r := w.parks(p, "TERM", 143, 0)
		if now := w.state(stage); r.Exit != 0 && now["status"] != "interrupted" && now["release"] != before {
			t.Errorf("%s.json says %v, want interrupted", stage, now["status"])
		}
		w.must(stage)
	}
	w.serves("v2")
	w.lostNothing(load, 1000)
}

func TestKill_AtAnyMomentIsMendedByTheNextDeploy(t *testing.T) {
	t.Parallel()
	const seed = 11
	random := rand.New(rand.NewPCG(seed, seed))
	s := settings{extra: slowly}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	for i := range 2 {
		next := fmt.Sprintf("v%d", i+2)
		w.commit(s.version(next, ""))
		p := w.start("deploy")
		w.reaches(p, "assets")
		after := time.Duration(random.IntN(4000)) * time.Millisecond
		time.Sleep(after)
		if err := p.Signal(t.Context(), "KILL"); err != nil {
			t.Logf("it was faster: %v", err)
		}
		r, err := p.Wait()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("killed %s into the stages of a deploy, in %s", after, lastStage(r))
		w.must("deploy")
		w.serves(next)
		for _, host := range []string{"vm1", "vm2", "vm3"} {
			w.live(host)
		}
	}
	w.lostNothing(load, 1000)
}

func (w *world) start(args ...string) *rig.Process {
	w.t.Helper()
	p, err := w.rig.Deployer.Start(w.t.Context(), nil, w.app.Work, append([]string{"kstep"}, args...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// reaches waits until a process reports the start of a stage.
func (w *world) reaches(p *rig.Process, stage string) {
	w.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if _, stderr := p.Output(); strings.Contains("\n"+stderr, "\n"+stage+"\n") {
			return
		}
	}
	_, stderr := p.Output()
	w.t.Fatalf("it never came to %s:\n%s", stage, stderr)
}

// lastStage is the stage that a process was in at its end.
func lastStage(r rig.Result) (name string) {
	for _, stage := range allStages() {
		if strings.Contains("\n"+r.Stderr, "\n"+stage+"\n") {
			name = stage
		}
	}
	return name
}

// parks sends a signal and expects an orderly end within five seconds.
func (w *world) parks(p *rig.Process, signal string, exits ...int) rig.Result {
	w.t.Helper()
	began := time.Now()
	sent := p.Signal(w.t.Context(), signal) // Fails if the process has ended.
	r, err := p.Wait()
	if err != nil {
		w.t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		w.t.Errorf("SIG%s: it took %s to leave", signal, took)
	}
	if !slices.Contains(exits, r.Exit) {
		w.t.Errorf("SIG%s (%v): exit status %d, want %v\n%s", signal, sent, r.Exit, exits, r.Stderr)
	}
	return r
}
