package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// scenario is a command that is a row of the table by itself, and the state of
// the hosts in which it is run.
type scenario struct {
	prepare func(*ground) (problem string)
	command func(*ground) []string
}

// scenarios are rows of the table, by name. Each begins where a version serves
// and another one is retained.
func scenarios() map[string]scenario {
	return map[string]scenario{
		"rollback": {
			prepare: func(g *ground) string {
				g.aim(g.version - 1)
				return ""
			},
			command: func(*ground) []string { return []string{"rollback"} },
		},
		"redeploy": {
			prepare: func(g *ground) string {
				g.env["TOKEN"] += "-again" // Every container differs.
				return ""
			},
			command: func(g *ground) []string { return append([]string{"redeploy"}, g.command("deploy")[1:]...) },
		},
		"app restart": {
			prepare: func(*ground) string { return "" },
			command: func(*ground) []string { return []string{"app", "restart"} },
		},
		"abort after boot": {
			prepare: func(g *ground) string { return g.halfway("boot") },
			command: func(*ground) []string { return []string{"abort"} },
		},
		"abort in cutover": {
			prepare: func(g *ground) string {
				if problem := g.halfway("barrier-wait"); problem != "" {
					return problem
				}
				if code, text := g.run(nil, "cutover", "--hosts", "vm1"); code != exit.OK {
					return fmt.Sprintf("cutover of one host: exit code %d\n%s", code, text)
				}
				return ""
			},
			command: func(*ground) []string { return []string{"abort"} },
		},
	}
}

func isScenario(stage string) bool {
	_, ok := scenarios()[stage]
	return ok
}

// halfway runs the stages of the next version up to one of them. The version
// that serves is the one that is to serve in the end.
func (g *ground) halfway(last string) (problem string) {
	serving := g.version
	g.next()
	defer g.aim(serving)
	return g.undisturbed(chain()[:slices.Index(chain(), last)+1]...)
}

// goOn deploys two more versions, so that one is retained and nothing else is left.
func (g *ground) goOn() (problem string) {
	for range 2 {
		g.next()
		if problem := g.undisturbed("deploy"); problem != "" {
			return "the next release: " + problem
		}
	}
	return ""
}

// merged are the assets of older versions in the folders of newer ones.
var merged = regexp.MustCompile(`(?m)^file shop/assets/\S+/(bridge\.json|app_assets/ro/(\.keys/|app-)OLD\S*) .*\n`)

// anyHistory leaves out what depends on the versions before the scenario began: the
// assets that were merged then.
func anyHistory(observed string) string { return merged.ReplaceAllString(observed, "") }

// before is the version that serves until the stage has moved the traffic.
func (g *ground) before(stage string) string {
	if isScenario(stage) {
		return versionName(g.latest)
	}
	return versionName(g.version - 1)
}

// TestFaults_CommandsConverge does the same as TestFaults_EveryStageConverges to
// commands that start and end releases, each of which is run again as it was. Each is
// followed by the deploy of the next version.
func TestFaults_CommandsConverge(t *testing.T) {
	t.Parallel()
	shared := &images{registry: registrytest.New(t), have: map[string]string{}}
	t.Cleanup(func() { total.write(t, *measured) })
	rows := slices.Sorted(maps.Keys(scenarios()))
	brief := map[string]string{"rollback": "routes", "app restart": "cord", "abort in cutover": "routes"}
	for _, traffic := range []string{"routes", "cord"} {
		for _, stage := range rows {
			if sampled > 1 && brief[stage] != traffic {
				continue // Every row costs several deploys; the others are done with the tag.
			}
			t.Run(traffic+" "+stage, func(t *testing.T) {
				t.Parallel()
				g := settled(t, shared, setting{traffic, calmTTL})
				counts := map[attempt]int{}
				if problem := g.prepare(stage); problem != "" {
					t.Fatal(problem)
				}
				g.operationsOf(stage, counts)
				want := anyHistory(g.observe())
				for at, batch := range batches(counts) {
					t.Run(fmt.Sprint("batch ", at), func(t *testing.T) {
						t.Parallel()
						runBatch(t, shared, traffic, want, batch)
					})
				}
			})
		}
	}
}
