package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/state"
)

// measured is where the table of docs/faults.md comes from; only chooses
// attempts by their names, such as `cutover kill:17@vm1`.
var (
	measured = flag.String("faults-out", "", "write what was measured to this file, as JSON")
	only     = flag.String("faults-only", "", "try only those whose `STAGE KIND:NUMBER@HOST` matches")
)

// hostStages are what faults happen in: every stage that touches hosts, and all
// of them in one process.
func hostStages() []string {
	var names []string
	for _, s := range pipeline() {
		if s.Info().Hosts {
			names = append(names, s.Info().Name)
		}
	}
	return append(names, "deploy")
}

// TestFaults_EveryStageConverges breaks every stage at remote operations of
// every host in every way, runs the same command again and then the rest of the
// chain, and expects what an undisturbed deploy leaves, and that no user
// noticed. Built with the tag `faults` it takes every operation; without, a
// fixed sample of them.
func TestFaults_EveryStageConverges(t *testing.T) {
	shared := &images{registry: registrytest.New(t), have: map[string]string{}}
	var total tally
	t.Cleanup(func() { total.write(t, *measured) })
	for _, traffic := range []string{"routes", "cord"} {
		t.Run(traffic, func(t *testing.T) {
			t.Parallel()
			g := settled(t, shared, setting{traffic, calmTTL})
			want := g.undisturbed()
			for at, batch := range batches(g.operationsByStage()) {
				t.Run(fmt.Sprint("batch ", at), func(t *testing.T) {
					t.Parallel()
					runBatch(t, shared, traffic, want, batch, &total)
				})
			}
		})
	}
}

// attempt is one fault in one stage.
type attempt struct {
	stage string
	fault fault.Fault
}

// undisturbed is what a deploy leaves that nothing happened to.
func (g *ground) undisturbed() string {
	g.t.Helper()
	g.next()
	if _, problem := g.try(attempt{}, ""); problem != "" {
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
	}
	return counts
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
		step := sampled
		if key.stage == "deploy" {
			step *= deployStep
		}
		for at := 1; at <= counts[key]; at++ {
			one := key
			one.fault.At = at
			if n++; n%step == 0 && chosen.MatchString(one.stage+" "+one.fault.String()) {
				all = append(all, one)
			}
		}
	}
	still := func(a attempt) bool { return a.fault.Kind == fault.Freeze }
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

func runBatch(t *testing.T, shared *images, traffic, want string, batch []attempt, total *tally) {
	how := setting{traffic, calmTTL}
	if batch[0].fault.Kind == fault.Freeze {
		how.ttl = brittleTTL
	}
	g := settled(t, shared, how)
	for _, a := range batch {
		g.next()
		g.said.Reset()
		u := g.users()
		var fired bool
		var problem string
		if a.fault.Kind == fault.Freeze {
			fired, problem = g.freeze(a)
		} else {
			fired, problem = g.try(a, want)
		}
		u.leave()
		if problem == "" && u.failed.Load() > 0 {
			problem = fmt.Sprintf("users lost %d of %d requests, first %s", u.failed.Load(), u.sent.Load(), u.first)
		}
		total.add(traffic, a, fired, problem == "", u)
		if problem != "" {
			t.Errorf("%s, %s, %s: %s", traffic, a.stage, a.fault, problem)
			g = settled(t, shared, how)
		}
	}
}

// try makes one attempt, and says what is wrong afterwards.
func (g *ground) try(a attempt, want string) (fired bool, problem string) {
	stages := chain()
	if a.stage == "deploy" {
		stages = []string{"deploy"}
	}
	for _, stage := range stages {
		if stage != a.stage || a.fault.At == 0 {
			if code, text := g.run(nil, g.command(stage)...); code != exit.OK {
				return fired, fmt.Sprintf("%s, undisturbed itself: exit code %d\n%s", stage, code, text)
			}
			continue
		}
		if fired, problem = g.disturb(a); problem != "" {
			return fired, problem
		}
	}
	if got := g.observe(); want != "" && got != want {
		return fired, "the hosts differ from an undisturbed run:\n" + difference(want, got) + g.said.String()
	}
	return fired, g.leaks()
}

// disturb runs the stage with its fault, and again without.
func (g *ground) disturb(a attempt) (fired bool, problem string) {
	i := &fault.Injector{Fault: a.fault}
	before := g.ownState(a.stage)
	code, text := g.run(i, g.command(a.stage)...)
	said := fmt.Sprintf("(at %v: exit code %d)\n%s", i.Where(), code, text)
	if a.fault.Kind != fault.Kill || !i.Fired() {
		if problem := g.truthful(a, code, before); problem != "" {
			return i.Fired(), problem + " " + said
		}
	}
	again, text := g.run(nil, g.command(a.stage)...)
	if again != exit.OK {
		return i.Fired(), fmt.Sprintf("run again: exit code %d\n%s%s", again, text, said)
	}
	if got := g.status(a.stage); code == exit.OK && a.stage != "deploy" && a.fault.Kind != fault.Kill && got != state.Unchanged {
		return i.Fired(), fmt.Sprintf("exit code 0, but run again it says %s\n%s%s", got, text, said)
	}
	return i.Fired(), ""
}

// freeze makes a stage stand still until another pipeline has deployed, and
// says what is wrong after it went on: it must not have changed anything.
func (g *ground) freeze(a attempt) (fired bool, problem string) {
	stages := chain()
	if a.stage == "deploy" {
		stages = []string{"deploy"}
	}
	for _, stage := range stages[:slices.Index(stages, a.stage)] {
		if code, text := g.run(nil, g.command(stage)...); code != exit.OK {
			return false, fmt.Sprintf("%s, undisturbed itself: exit code %d\n%s", stage, code, text)
		}
	}
	frozen, thaw, ended := make(chan host.Op, 1), make(chan struct{}), make(chan exit.Code, 1)
	var said string
	args := g.command(a.stage)
	go func() {
		i := &fault.Injector{Fault: a.fault, Thaw: thaw, Tell: func(op host.Op) { frozen <- op }}
		code, text := g.run(i, args...)
		said = text
		ended <- code
	}()
	var at host.Op
	select {
	case <-ended:
		return false, ""
	case at = <-frozen:
	}
	rival := g.rival()
	code, text := rival.run(nil, append(rival.command("deploy"), "--wait", "1m")...)
	before := rival.observe()
	close(thaw)
	late := <-ended
	g.version = rival.version
	switch after := rival.observe(); {
	case code != exit.OK:
		return true, fmt.Sprintf("frozen at %v, the next pipeline ends with %d\n%s", at, code, text)
	case before != after:
		return true, fmt.Sprintf("frozen at %v, it changed the hosts afterwards:\n%s%s", at, difference(before, after), said)
	case late != exit.LeaseHeld && late != exit.BadState && late != exit.OK:
		return true, fmt.Sprintf("frozen at %v, it ends with %d\n%s", at, late, said)
	}
	return true, g.leaks()
}

// truthful holds the exit code against the state file.
func (g *ground) truthful(a attempt, code exit.Code, before []byte) string {
	if a.fault.Kind == fault.Terminate && code != exit.Terminated && code != exit.OK {
		return "terminated, but the exit code says something else"
	}
	after := g.ownState(a.stage)
	if bytes.Equal(before, after) {
		if code == exit.OK && a.stage != "deploy" {
			return "exit code 0 without a state file"
		}
		return ""
	}
	var file state.File
	if err := json.Unmarshal(after, &file); err != nil {
		return err.Error()
	}
	if file.ExitCode != int(code) || file.Status.Done() != (code == exit.OK) {
		return fmt.Sprintf("the state file says %s, exit code %d", file.Status, file.ExitCode)
	}
	return ""
}

// ownState is the state file of a stage, or nothing.
func (g *ground) ownState(stage string) []byte {
	data, _ := os.ReadFile(filepath.Join(g.stateDir(), stage+".json"))
	return data
}

func (g *ground) status(stage string) state.Status {
	var file state.File
	if stage == "deploy" || json.Unmarshal(g.ownState(stage), &file) != nil {
		return ""
	}
	return file.Status
}

// leaks looks for the secret where it must not be.
func (g *ground) leaks() string {
	if strings.Contains(g.said.String(), secretMark) {
		return "the secret is in the output:\n" + g.said.String()
	}
	for name, data := range snapshotDir(g.t, g.stateDir()) {
		if bytes.Contains(data, []byte(secretMark)) {
			return "the secret is in " + name
		}
	}
	return ""
}

// difference shows the lines that are in one text only.
func difference(want, got string) string {
	var out strings.Builder
	wanted, have := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range wanted {
		if !slices.Contains(have, line) {
			fmt.Fprintln(&out, "- "+line)
		}
	}
	for _, line := range have {
		if !slices.Contains(wanted, line) {
			fmt.Fprintln(&out, "+ "+line)
		}
	}
	return out.String()
}

// row is a line of the table.
type row struct {
	Traffic   string         `json:"traffic"`
	Stage     string         `json:"stage"`
	Tried     map[string]int `json:"tried"` // By kind.
	Converged int            `json:"converged"`
	Sent      int64          `json:"sent"`
	Lost      int64          `json:"lost"`
}

// tally collects the rows.
type tally struct {
	mu   sync.Mutex
	rows []*row
}

func (c *tally) add(traffic string, a attempt, fired, converged bool, u *users) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.rows, func(r *row) bool { return r.Traffic == traffic && r.Stage == a.stage })
	if at < 0 {
		at = len(c.rows)
		c.rows = append(c.rows, &row{Traffic: traffic, Stage: a.stage, Tried: map[string]int{}})
	}
	r := c.rows[at]
	r.Sent += u.sent.Load()
	r.Lost += u.failed.Load()
	if !fired {
		return // The run had fewer operations than the one that was counted.
	}
	r.Tried[string(a.fault.Kind)]++
	if converged {
		r.Converged++
	}
}

func (c *tally) write(t *testing.T, file string) {
	if file == "" {
		return
	}
	data, err := json.MarshalIndent(c.rows, "", "  ")
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
