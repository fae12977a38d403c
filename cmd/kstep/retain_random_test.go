package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

var (
	retainSeeds = flag.Int("retain-seeds", 2, "try so many random sequences of deploys and rollbacks")
	retainSeed  = flag.Int("retain-seed", 0, "the seed of the first sequence")
)

// TestRetention_KeepsTheWayBackThroughRandomReleases: after each deploy, failed
// deploy and rollback, the version that served before the live one and was not
// rolled back is ready, and a rollback goes there. The test of the same name in
// stages/prune tries many more sequences, without hosts.
func TestRetention_KeepsTheWayBackThroughRandomReleases(t *testing.T) {
	t.Parallel()
	for seed := *retainSeed; seed < *retainSeed+*retainSeeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 12))
			w := newWorld(t)
			retain := 1 + seed%5
			w.append(fmt.Sprintf("retain: %d\n", retain))
			var served, story []string // What served before and was not rolled back; the live version is the last.
			fresh := 0
			push := func(version string) {
				served = append(slices.DeleteFunc(served, func(v string) bool { return v == version }), version)
			}
			deploy := func(command, version string, want exit.Code) {
				story = append(story, fmt.Sprintf("%s %s: %d", command, version, want))
				w.exits(want, command, "--image", w.image(version), "--version", version)
			}
			for step := range 9 {
				w.forget()
				kind := r.IntN(6)
				if step < 2 {
					kind = 0
				}
				switch kind {
				case 0, 1:
					fresh++
					push(fmt.Sprintf("v%d", fresh))
					deploy("deploy", served[len(served)-1], exit.OK)
				case 2:
					deploy("redeploy", served[len(served)-1], exit.OK)
				case 3:
					fresh++
					version := fmt.Sprintf("v%d", fresh)
					w.behave(version, hosttest.Behaviour{Exit: new(1)})
					deploy("deploy", version, exit.BarrierClosed)
					w.exits(exit.OK, "abort")
				case 4: // To a version that served, or any.
					ready := slices.DeleteFunc(w.releasesReport().Releases, func(r releaseStatus) bool { return len(r.Ready) < 3 || len(r.Live) > 0 })
					if len(ready) == 0 {
						continue
					}
					version := ready[r.IntN(len(ready))].Version
					story = append(story, "rollback "+version)
					w.exits(exit.OK, "rollback", version)
					if at := slices.Index(served, version); at >= 0 {
						served = served[:at+1]
					} else {
						push(version)
					}
				default:
					want := exit.Failed
					if len(served) > 1 {
						want = exit.OK
						served = served[:len(served)-1]
					}
					story = append(story, fmt.Sprintf("rollback: %d", want))
					w.exits(want, "rollback")
				}
				served = served[max(0, len(served)-max(2, retain)):]
				w.serves(served[len(served)-1])
				want := ""
				if len(served) > 1 {
					want = served[len(served)-2]
				}
				if got := w.releasesReport().Rollback; got != want {
					t.Fatalf("retain %d: a rollback goes to %q, want %q, after:\n%s", retain, got, want, strings.Join(story, "\n"))
				}
			}
		})
	}
}
