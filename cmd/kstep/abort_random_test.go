package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
)

var (
	abortSeeds = flag.Int("abort-seeds", 5, "try so many random sequences of commands that end with an abort")
	abortSeed  = flag.Int("abort-seed", -1, "try only the random sequence of this seed")
	abortSteps = flag.Int("abort-steps", 9, "how many commands a random sequence with aborts has")
)

// TestAbort_NeverTakesAwayWhatServes runs random sequences of deploy, redeploy,
// rollback, app stop and start, prune, abort, stages by themselves and removal of
// old containers by hand, and kills commands at random operations. What serves
// before an abort serves after it, and once an abort is done, every role serves
// that the sequence had in service and did not stop. A failure prints its seed:
// -abort-seed runs it again.
func TestAbort_NeverTakesAwayWhatServes(t *testing.T) {
	t.Parallel()
	for seed := range max(*abortSeeds, *abortSeed+1) {
		if *abortSeed >= 0 && seed != *abortSeed {
			continue
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := newSequence(t, seed)
			s.replay = fmt.Sprintf("-abort-seed %d -abort-steps %d", seed, *abortSteps)
			for range *abortSteps {
				s.step()
			}
			s.abort()
		})
	}
}

// sequence is a random sequence of commands, and what has to serve.
type sequence struct {
	*world
	seed     int
	replay   string // The flags that run it again.
	random   *rand.Rand
	commands []string
	versions int
	killed   []string // The last command, if it was killed.
	// complete is true once a deploy was: before, abort takes down what serves.
	complete bool
	// settled is true while nothing is under way since: abort changes nothing.
	settled bool
	stopped map[string]bool // Roles that were stopped by hand.
	extra   string
}

func newSequence(t *testing.T, seed int) *sequence {
	s := &sequence{world: newWorld(t), seed: seed, random: rand.New(rand.NewPCG(uint64(seed), 10)), stopped: map[string]bool{}}
	s.extra = fmt.Sprintf("proxy: {switch: %s}\nretain: %d\n", []string{"routes", "cord"}[seed%2], 1+s.random.IntN(2))
	s.reconfigure()
	return s
}

// reconfigure changes an environment variable, so that the next redeploy has to
// replace containers.
func (s *sequence) reconfigure() {
	s.replicas(s.extra+fmt.Sprintf("env: {clear: {CHANGE: \"%d\"}}\n", len(s.commands)), fmt.Sprint(1+s.seed/2%2))
	if s.seed%3 != 0 {
		s.replace("cmd: work hard", "cmd: work hard\n    start: after-barrier")
	}
}

// serving is what serves at each target; empty is nothing.
func (s *sequence) serving() map[string]string {
	s.t.Helper()
	found := map[string]string{"job@vm3": ""}
	for _, name := range []string{"vm1", "vm2"} {
		found["web@"+name] = ""
		if status, body := s.get(name); status == 200 {
			found["web@"+name] = body
		}
	}
	for _, c := range s.containers("vm3") {
		if c.Running() && c.Labels[engine.LabelRole] == "job" {
			found["job@vm3"] += c.Name
		}
	}
	return found
}

// fail prints the sequence.
func (s *sequence) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\nafter these commands (%s):\n%s", fmt.Sprintf(format, args...), s.replay, strings.Join(s.commands, "\n"))
}

// does runs a command to its end.
func (s *sequence) does(args ...string) (exit.Code, string) {
	s.t.Helper()
	code, stdout, stderr := s.kstep(args...)
	s.commands = append(s.commands, fmt.Sprintf("%s: %d", strings.Join(args, " "), code))
	s.killed = nil
	return code, stdout + stderr
}

// kills runs a command and kills it at a random operation. Its state files are
// then as they were at that moment.
func (s *sequence) kills(args ...string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "kstep-state")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	ctx, die := context.WithCancelCause(s.t.Context())
	defer die(nil)
	injector := &fault.Injector{Fault: fault.Fault{Kind: fault.Kill, At: 1 + s.random.IntN(220)}}
	restore := func() {}
	injector.Die = func() {
		files := snapshotDir(s.t, dir)
		restore = func() { restoreDir(s.t, dir, files) }
		die(exit.Errorf(exit.Internal, "killed"))
		for _, fake := range s.hosts {
			fake.Sever()
		}
	}
	var out bytes.Buffer
	p := &program{
		env:    func(name string) (string, bool) { v, ok := s.env[name]; return v, ok },
		stdout: &out, stderr: &out, around: injector.Around,
	}
	code := p.run(ctx, append(slices.Clone(args), "--config", filepath.Join(s.dir, "kstep.yml"), "--state-dir", dir))
	restore()
	s.killed, s.settled = args, s.settled && args[0] == "abort"
	s.commands = append(s.commands, fmt.Sprintf("%s: killed at operation %d (%t): %d", strings.Join(args, " "), injector.Fault.At, injector.Fired(), code))
	if !injector.Fired() {
		s.killed = nil
		if code == exit.OK && args[0] != "abort" {
			s.completed()
		}
	}
}

// completed notes that all roles serve.
func (s *sequence) completed() { s.complete, s.settled, s.stopped = true, true, map[string]bool{} }

// deploying is a deploy of a new version.
func (s *sequence) deploying() []string {
	s.versions++
	version := fmt.Sprintf("v%d", s.versions)
	return []string{"deploy", "--image", s.image(version), "--version", version}
}

// redeploying is a redeploy of the latest version, with another environment.
func (s *sequence) redeploying() []string {
	if s.versions == 0 {
		return s.deploying()
	}
	s.reconfigure()
	version := fmt.Sprintf("v%d", s.versions)
	return []string{"redeploy", "--image", s.registry.Host() + "/acme/shop:" + version, "--version", version}
}

// step runs one command.
func (s *sequence) step() {
	s.t.Helper()
	if s.killed != nil && s.random.IntN(10) < 8 {
		if s.random.IntN(4) == 0 {
			s.finish(s.killed...)
			return
		}
		s.abort()
		return
	}
	switch s.random.IntN(18) {
	case 0, 1, 2:
		s.finish(s.deploying()...)
	case 3:
		s.finish(s.redeploying()...)
	case 4:
		s.finish("rollback")
	case 5, 6:
		s.kills(s.deploying()...)
	case 7:
		s.kills(s.redeploying()...)
	case 8:
		s.kills("rollback")
	case 9:
		role := []string{"web", "job"}[s.random.IntN(2)]
		s.stopped[role] = true
		s.does("app", "stop", "--roles", role)
	case 10:
		if code, _ := s.does("app", "start"); code == exit.OK && s.complete {
			s.stopped = map[string]bool{}
		}
	case 11:
		s.does("prune")
	case 12:
		s.commands = append(s.commands, "stopped containers of web on vm1 are removed")
		s.removeStopped("vm1", "web")
	case 13:
		s.someStages()
	case 14, 15:
		s.stopped["job"] = true
		s.does("app", "stop", "--roles", "job")
		s.abort()
	case 16:
		s.finish(s.redeploying()...)
	case 17:
		s.abort()
	}
}

// finish runs a deploy to its end.
func (s *sequence) finish(args ...string) {
	s.settled = false
	if code, _ := s.does(args...); code == exit.OK {
		s.completed()
	}
}

// someStages runs the first stages of a deploy, the last one for a part of the
// targets.
func (s *sequence) someStages() {
	s.settled = false
	args := s.deploying()
	if code, _ := s.does(append([]string{"push"}, args[1:]...)...); code != exit.OK {
		return
	}
	stages := stageNames()[2:7]
	last := 1 + s.random.IntN(len(stages))
	for i, stage := range stages[:last] {
		command := []string{stage}
		if i == last-1 {
			command = append(command, [][]string{{"--hosts", "vm1,vm3"}, {"--roles", "web"}, {"--hosts", "vm1"}}[s.random.IntN(3)]...)
		}
		if code, _ := s.does(command...); code != exit.OK {
			return
		}
	}
}

// abort aborts, sometimes after an abort that was killed, and judges it.
func (s *sequence) abort() {
	s.t.Helper()
	command := []string{"abort"}
	if s.random.IntN(4) == 0 {
		s.forget()
		command = append(command, "--state-from", "hosts")
	}
	before := s.serving()
	if s.random.IntN(4) == 0 {
		s.kills(command...)
		s.still(before, "web@vm1", "web@vm2")
	}
	code, text := s.does(command...)
	switch code {
	case exit.OK:
		s.still(before, "web@vm1", "web@vm2", "job@vm3")
		s.whole(text)
	case exit.Usage:
		s.still(before, "web@vm1", "web@vm2", "job@vm3")
		if code, text = s.does("abort", "--yes"); code != exit.OK {
			s.fail("abort --yes ends with %d\n%s", code, text)
		}
		s.whole(text)
	case exit.Failed:
		if !strings.Contains(text, "nothing was changed") {
			s.fail("abort failed:\n%s", text)
		}
		s.still(before, "web@vm1", "web@vm2", "job@vm3")
		if code, text = s.does(s.deploying()...); code != exit.OK {
			s.fail("the deploy after a refused abort ends with %d\n%s", code, text)
		}
		s.completed()
		s.whole("")
	case exit.LeaseHeld:
		s.still(before, "web@vm1", "web@vm2", "job@vm3")
	default:
		s.fail("abort ends with %d\n%s", code, text)
	}
}

// still expects what served before to serve.
func (s *sequence) still(before map[string]string, targets ...string) {
	s.t.Helper()
	if !s.complete {
		return
	}
	now := s.serving()
	for _, target := range targets {
		if before[target] != "" && now[target] == "" {
			s.fail("abort took %s away", target)
		}
	}
	if s.settled && !maps.Equal(now, before) {
		s.fail("abort changed a complete release: %v serves, it was %v", now, before)
	}
}

// whole expects everything to serve that was in service and not stopped, unless
// abort left it to another release.
func (s *sequence) whole(text string) {
	s.t.Helper()
	if !s.complete || strings.Contains(text, "the lease is another's") {
		return
	}
	for target, serves := range s.serving() {
		role, _, _ := strings.Cut(target, "@")
		if serves == "" && !s.stopped[role] {
			s.fail("after abort %s does not serve\n%s", target, text)
		}
	}
}
