//go:build integration

package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

var (
	lifeSeed  = flag.Uint64("life-seed", 1, "the random sequence to run")
	lifeSteps = flag.Int("life-steps", 6, "how many commands the random sequence has")
)

// TestLife_RandomCommandsOnRealHostsLoseNoRequest runs a random sequence of what people
// do: good and broken deploys, redeploys, rollbacks, restarts, prunes, deploys that are
// killed at any time and then run again, aborted or given up for another checkout. After
// each command the version that is to serve serves, `status` agrees, and the lease is
// free. No request is lost from the first command to the last.
func TestLife_RandomCommandsOnRealHostsLoseNoRequest(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			s.extra += "cutover: {drain: 3s}\nretain: 3\n"
			l := &life{world: begin(t, s), settings: s, random: rand.New(rand.NewPCG(*lifeSeed, 0)), latest: 1}
			l.must("deploy")
			l.serving = "v1"
			load := l.traffic()
			began := time.Now()
			for range *lifeSteps {
				l.step()
				if t.Failed() {
					break
				}
			}
			t.Logf("%d commands in %s:\n  %s", len(l.done), time.Since(began).Round(time.Second), strings.Join(l.done, "\n  "))
			l.lostNothing(load, 500)
			if t.Failed() {
				t.Logf("run it again with -life-seed %d -life-steps %d", *lifeSeed, *lifeSteps)
			}
		})
	}
}

// life is a service, and what is expected of it.
type life struct {
	*world
	settings settings
	random   *rand.Rand
	latest   int    // The number of the newest version.
	serving  string // The version that is to serve.
	atHead   bool   // The checkout is the version that serves.
	done     []string
}

func (l *life) step() {
	l.t.Helper()
	switch l.random.IntN(10) {
	case 0, 1, 2:
		l.next("")
		l.does(0, "deploy")
		l.serving, l.atHead = l.newest(), true
	case 3:
		l.next("unhealthy")
		l.does(13, "deploy")
	case 4, 5:
		l.rollback()
	case 6:
		if l.atHead {
			l.does(0, "redeploy")
		}
	case 7:
		l.does(0, "app", "restart")
	default:
		l.kill()
	}
	l.holds()
}

// next commits a version.
func (l *life) next(flags string) {
	l.t.Helper()
	l.latest++
	l.atHead = false
	if flags == "" && l.random.IntN(3) == 0 {
		flags = "boot=1s"
	}
	l.commit(l.settings.version(l.newest(), flags))
}

func (l *life) newest() string { return fmt.Sprintf("v%d", l.latest) }

func (l *life) does(want int, args ...string) rig.Result {
	l.t.Helper()
	l.done = append(l.done, strings.Join(args, " "))
	r := l.kstep(args...)
	if r.Exit != want {
		l.t.Errorf("kstep %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), r.Exit, want, r.Stdout, r.Stderr)
	}
	return r
}

// status is what `kstep status --json` prints of interest here.
type status struct {
	Lease struct {
		Held bool `json:"held"`
	} `json:"lease"`
	Rollback string `json:"rollback"`
	Targets  []struct {
		Role, Version string
	} `json:"targets"`
}

func (l *life) status() status {
	l.t.Helper()
	var s status
	if err := json.Unmarshal([]byte(l.must("status", "--output", "json").Stdout), &s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// rollback goes to where status says a rollback goes. The app on the page names itself
// otherwise than kstep does, so what serves is learnt from the page, on one host.
func (l *life) rollback() {
	l.t.Helper()
	if l.status().Rollback == "" {
		return
	}
	l.does(0, "rollback")
	_, body := l.get(l.rig.Host("vm1").URL() + "/")
	version, ok := strings.CutPrefix(body, "version ")
	if version, _, _ = strings.Cut(version, " "); !ok || version == l.serving {
		l.t.Errorf("after the rollback %q serves, before it %s did", body, l.serving)
	}
	l.serving, l.atHead = version, version == l.newest()
}

// kill ends a deploy at a random time, and does what a person does then.
func (l *life) kill() {
	l.t.Helper()
	l.next("")
	after := time.Duration(l.random.IntN(5000)) * time.Millisecond
	p := l.start("deploy")
	time.Sleep(after)
	if err := p.Signal(l.t.Context(), "KILL"); err != nil {
		l.t.Log(err) // It has ended.
	}
	r, err := p.Wait()
	if err != nil {
		l.t.Fatal(err)
	}
	l.done = append(l.done, fmt.Sprintf("deploy, killed after %s: exit status %d", after, r.Exit))
	if r.Exit == 0 {
		l.serving, l.atHead = l.newest(), true
		return
	}
	switch l.random.IntN(4) {
	case 0:
		l.abort()
		return
	case 1: // From another checkout, which has no state.
		l.done = append(l.done, "the state folder is removed")
		if err := os.RemoveAll(filepath.Join(l.app.Dir, "kstep-state")); err != nil {
			l.t.Fatal(err)
		}
	case 2: // The next commit is deployed in its place.
		l.next("")
	}
	l.does(0, "deploy")
	l.serving, l.atHead = l.newest(), true
}

// abort goes back to what served. A release that is complete stays.
func (l *life) abort() {
	l.t.Helper()
	l.done = append(l.done, "abort")
	r := l.kstep("abort")
	switch r.Exit {
	case 0:
		if status, body := l.get(l.rig.Host("vm1").URL() + "/"); status == 200 && strings.HasPrefix(body, "version "+l.newest()+" ") {
			l.serving, l.atHead = l.newest(), true // It had gone all the way.
		}
	case 64, 20, 21: // It has served everywhere, or there is nothing to abort.
		l.does(0, "deploy")
		l.serving, l.atHead = l.newest(), true
	default:
		l.t.Errorf("abort: exit status %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}

// holds sees that what is to serve serves, everywhere, and that status agrees.
func (l *life) holds() {
	l.t.Helper()
	l.serves(l.serving)
	s := l.status()
	if s.Lease.Held {
		l.t.Errorf("the lease is held after %s", l.done[len(l.done)-1])
	}
	versions := map[string]bool{}
	for _, t := range s.Targets {
		versions[t.Version] = true
	}
	if len(versions) != 1 {
		l.t.Errorf("by status, versions %v serve at the same time", versions)
	}
	if len(l.running("vm1")) != 1 || len(l.running("vm2")) != 1 || len(l.running("vm3")) != 1 {
		l.t.Errorf("vm1 runs %v, vm2 %v, vm3 %v, want one container each", l.running("vm1"), l.running("vm2"), l.running("vm3"))
	}
}
