package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// measured is where the table of docs/faults.md comes from; only chooses
// attempts by their names, such as `cutover kill:17@vm1`.
var (
	measured = flag.String("faults-out", "", "write what was measured to this file, as JSON")
	only     = flag.String("faults-only", "", "try only those whose `STAGE KIND:NUMBER@HOST` matches")
	step     = flag.Int("faults-step", sampled, "try one of so many operations")
	offset   = flag.Int("faults-offset", 0, "begin with another one of them")
)

// total is what both tests below measured.
var total tally

// TestFaults_EveryStageConverges breaks every stage at remote operations of
// every host in every way, runs the same command again and then the rest of the
// chain, and expects what an undisturbed deploy leaves, and that no user
// noticed. Built with the tag `faults` it takes every operation; without, a
// fixed sample of them.
func TestFaults_EveryStageConverges(t *testing.T) {
	t.Parallel()
	shared := &images{registry: registrytest.New(t), have: map[string]string{}}
	t.Cleanup(func() { total.write(t, *measured) })
	for _, traffic := range []string{"routes", "cord"} {
		t.Run(traffic, func(t *testing.T) {
			t.Parallel()
			g := settled(t, shared, setting{traffic, calmTTL})
			want := g.leaves("push")
			for at, batch := range batches(g.operationsByStage()) {
				t.Run(fmt.Sprint("batch ", at), func(t *testing.T) {
					t.Parallel()
					runBatch(t, shared, traffic, want, batch)
				})
			}
		})
	}
}

// TestFaults_TheFirstReleaseConverges does the same to the first deploy on
// hosts that have nothing, not even the proxy. There are no users yet.
func TestFaults_TheFirstReleaseConverges(t *testing.T) {
	t.Parallel()
	shared := &images{registry: registrytest.New(t), have: map[string]string{}}
	t.Cleanup(func() { total.write(t, *measured) })
	for _, traffic := range []string{"routes", "cord"} {
		how := setting{traffic, calmTTL}
		g := newGround(t, shared, how)
		g.next()
		counts := map[attempt]int{}
		g.operationsOf("deploy", counts)
		maps.DeleteFunc(counts, func(a attempt, _ int) bool {
			return slices.Contains([]fault.Kind{fault.Freeze, fault.StaleView, fault.Unobserved}, a.fault.Kind)
		})
		want := g.observe()
		for at, batch := range batches(counts) {
			t.Run(fmt.Sprint(traffic, " batch ", at), func(t *testing.T) {
				t.Parallel()
				for _, a := range batch {
					breakFirst(newGround(t, shared, how), a, want)
				}
			})
		}
	}
}

func breakFirst(g *ground, a attempt, want string) {
	g.next()
	fired, problem := g.disturb(a)
	if got := g.observe(); problem == "" && got != want {
		problem = "the hosts differ from an undisturbed run:\n" + difference(want, got) + g.said.String()
	}
	total.add(g.traffic, attempt{"first deploy", a.fault}, fired, problem == "", &users{})
	if problem != "" {
		g.t.Errorf("%s, first deploy, %s: %s", g.traffic, a.fault, problem)
	}
}

// attempt is one fault in one stage.
type attempt struct {
	stage string
	fault fault.Fault
}

// leaves is what is on the hosts after a stage that nothing happened to, and
// those that follow.
func (g *ground) leaves(stage string) string {
	g.t.Helper()
	if problem := cmp.Or(g.prepare(stage), g.undisturbed(stage), g.undisturbed(after(stage)...), g.leaks()); problem != "" {
		g.t.Fatal(problem)
	}
	return g.observe()
}

func chain() []string {
	var names []string
	for _, s := range pipeline()[1:] {
		names = append(names, s.Info().Name)
	}
	return names
}

// operationsByStage counts the operations at which each fault can happen, by
// stage and host, in runs without one.
func (g *ground) operationsByStage() map[attempt]int {
	g.t.Helper()
	counts := map[attempt]int{}
	for _, stages := range [][]string{chain(), {"deploy"}} {
		g.next()
		for _, stage := range stages {
			g.operationsOf(stage, counts)
		}
	}
	return counts
}

func (g *ground) operationsOf(stage string, counts map[attempt]int) {
	g.t.Helper()
	g.operations()
	if code, text := g.run(nil, g.command(stage)...); code != exit.OK {
		g.t.Fatalf("%s: exit code %d\n%s", stage, code, text)
	}
	for _, op := range g.operations() {
		for _, kind := range fault.Kinds() {
			if f := (fault.Fault{Kind: kind, Host: op.Host}); f.Counts(op) {
				counts[attempt{stage, f}]++
			}
		}
	}
}

// batchSize bounds the attempts on one ground: hosts remember. Of those that
// wait for a lease to expire, more have to wait at once.
const (
	batchSize  = 25
	frozenSize = 8
)

// deployStep is how many operations of a deploy in one process there are for
// one that gets a fault: its stages had theirs, each by itself. A prime, too.
const deployStep = 5

// batches are the attempts to make, in groups that share a ground.
func batches(counts map[attempt]int) [][]attempt {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b attempt) int {
		return strings.Compare(fmt.Sprint(a.stage, a.fault), fmt.Sprint(b.stage, b.fault))
	})
	chosen := regexp.MustCompile(*only)
	var all []attempt
	n := 0
	for _, key := range keys {
		every := *step
		if stateOf(key.stage) == "" {
			every *= deployStep
		}
		for at := 1; at <= counts[key]; at++ {
			one := key
			one.fault.At = at
			if n++; n%every == *offset && chosen.MatchString(one.stage+" "+one.fault.String()) {
				all = append(all, one)
			}
		}
	}
	still := func(a attempt) bool { return a.fault.Kind == fault.Freeze || a.fault.Kind == fault.StaleView }
	frozen := slices.DeleteFunc(slices.Clone(all), func(a attempt) bool { return !still(a) })
	return slices.AppendSeq(
		slices.Collect(slices.Chunk(frozen, frozenSize)),
		slices.Chunk(slices.DeleteFunc(all, still), batchSize),
	)
}

// calmTTL is a lease that never expires by itself here, brittleTTL one that
// soon does: a frozen process has to be waited for.
const (
	calmTTL    = 15 * time.Minute
	brittleTTL = lease.MinTTL
)

func runBatch(t *testing.T, shared *images, traffic, want string, batch []attempt) {
	how := setting{traffic, calmTTL}
	if k := batch[0].fault.Kind; k == fault.Freeze || k == fault.StaleView {
		how.ttl = brittleTTL
	}
	g := settled(t, shared, how)
	for _, a := range batch {
		g.said.Reset()
		u := g.users()
		var fired bool
		var problem string
		blameless := false // What was done to the host is not kstep's.
		switch a.fault.Kind {
		case fault.Freeze, fault.StaleView:
			fired, problem = g.freeze(a)
		case fault.Unobserved:
			fired, blameless, problem = g.meddle(a)
		default:
			fired, problem = g.try(a, want)
		}
		u.leave()
		if blameless {
			u = &users{}
		}
		if problem == "" && u.failed.Load() > 0 {
			problem = fmt.Sprintf("users lost %d of %d requests, first %s", u.failed.Load(), u.sent.Load(), u.first)
		}
		total.add(traffic, a, fired, problem == "", u)
		if problem != "" {
			t.Errorf("%s, %s, %s: %s", traffic, a.stage, a.fault, problem)
		}
		if problem != "" || a.fault.Kind == fault.Unobserved { // Containers may be missing.
			g = settled(t, shared, how)
		}
	}
}
