package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// renameStep is how many times as many operations of a cutover get a fault here
// as elsewhere: only this stage has something else to do.
const renameStep = 3

// TestFaults_ARenamedRoleConverges breaks the cutover of a release in which the
// role with the traffic and the one without have other names than in the release
// before.
func TestFaults_ARenamedRoleConverges(t *testing.T) {
	t.Parallel()
	shared := &images{registry: registrytest.New(t), have: map[string]string{}}
	for _, traffic := range []string{"routes", "cord"} {
		t.Run(traffic, func(t *testing.T) {
			t.Parallel()
			g := settled(t, shared, setting{traffic, calmTTL})
			want := map[bool]string{}
			for range 4 { // Until nothing of the first releases is left.
				other := g.rename()
				want[other] = g.leaves("push")
			}
			for _, a := range g.faultsOfACutover() {
				other := g.rename()
				g.said.Reset()
				u := g.users()
				_, problem := g.try(a, want[other])
				u.leave()
				if problem == "" && u.failed.Load() > 0 {
					problem = fmt.Sprintf("users lost %d of %d requests, first %s", u.failed.Load(), u.sent.Load(), u.first)
				}
				if problem != "" {
					t.Fatalf("%s, cutover, %s: %s", traffic, a.fault, problem)
				}
			}
		})
	}
}

// faultsOfACutover are the attempts to make, one of so many.
func (g *ground) faultsOfACutover() []attempt {
	g.t.Helper()
	g.rename()
	g.next()
	counts := map[attempt]int{}
	for _, stage := range chain() {
		g.operationsOf(stage, counts)
	}
	maps.DeleteFunc(counts, func(a attempt, _ int) bool {
		// Those that need another pipeline, or someone's hands, are tried without a rename.
		with := []fault.Kind{fault.Freeze, fault.StaleView, fault.Unobserved}
		return a.stage != "cutover" || slices.Contains(with, a.fault.Kind)
	})

	keys := slices.SortedFunc(maps.Keys(counts), func(a, b attempt) int {
		return strings.Compare(a.fault.String(), b.fault.String())
	})
	var all []attempt
	n := 0
	for _, key := range keys {
		for at := 1; at <= counts[key]; at++ {
			if n++; n%max(1, *step/renameStep) == 0 {
				key.fault.At = at
				all = append(all, key)
			}
		}
	}
	return all
}

// rename gives both roles their other names, and reports whether they are the
// other ones now.
func (g *ground) rename() (other bool) {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, "kstep.yml"))
	if err != nil {
		g.t.Fatal(err)
	}
	text := string(data)
	if other = strings.Contains(text, "  web: "); other {
		text = strings.NewReplacer("  web: ", "  zweb: ", "  job:", "  cron:", "servers:", "primary_role: zweb\nservers:").Replace(text)
	} else {
		text = strings.NewReplacer("  zweb: ", "  web: ", "  cron:", "  job:", "primary_role: zweb\n", "").Replace(text)
	}
	g.write("kstep.yml", text)
	return other
}
