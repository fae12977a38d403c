package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

var (
	lifeSeeds = flag.Int("life-seeds", 4, "try so many random sequences of all that people do to a service")
	lifeSeed  = flag.Int("life-seed", -1, "try only the random sequence of this seed")
	lifeSteps = flag.Int("life-steps", 14, "how many commands a random sequence of all that people do has")
)

// TestLife_WhateverIsDoneWhoeverServedServes runs random sequences of all that
// people do to a service: good, slow and broken deploys, redeploys, rollbacks, abort,
// app stop, start and restart, prune, env push, locks; some are killed at a random
// operation, and some come from another folder or person. After each of them, what
// served before serves, the exit code is true, `status` shows what a request gets,
// and no release that is not at work has the lease. At the end a deploy succeeds. A
// failure prints its seed: -life-seed runs it again.
func TestLife_WhateverIsDoneWhoeverServedServes(t *testing.T) {
	t.Parallel()
	for seed := range max(*lifeSeeds, *lifeSeed+1) {
		if *lifeSeed >= 0 && seed != *lifeSeed {
			continue
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			l := &life{sequence: newSequence(t, seed)}
			l.replay = fmt.Sprintf("-life-seed %d -life-steps %d", seed, *lifeSteps)
			l.env["USER"] = "ann"
			for range *lifeSteps {
				l.live()
			}
			l.end()
		})
	}
}

// life is a sequence of commands of all kinds.
type life struct {
	*sequence
	broken int
	locked bool // By hand.
	// underway is true once a release was killed, until its lease is free again: it
	// is for the next user to go on with it, or to abort it.
	underway bool
}

// live does one thing, and judges it.
func (l *life) live() {
	l.t.Helper()
	before := l.serving()
	args, wants := l.choose()
	if args == nil {
		return
	}
	if l.random.IntN(4) == 0 && !slices.Contains([]string{"lock", "app"}, args[0]) {
		l.kills(args...)
		l.underway = true
		l.served(before, args, true)
		return
	}
	back := ""
	if args[0] == "rollback" && len(args) == 1 && l.killed == nil {
		back = l.statusReport().Rollback
	}
	code, text := l.does(args...)
	if !l.allowed(code, text, wants) {
		l.fail("it ends with %d, want one of %v\n%s", code, wants, text)
	}
	l.served(before, args, false)
	l.took(args, code, back)
	l.leased(args, code)
	l.truth()
	if code != exit.OK && l.random.IntN(2) == 0 {
		l.follow(text)
	}
}

// follow does what one of the hints of a failed command says, if it names a command
// that needs no more than it says.
func (l *life) follow(text string) {
	l.t.Helper()
	commands := hinted(text)
	if len(commands) == 0 {
		return
	}
	args := commands[l.random.IntN(len(commands))]
	before := l.serving()
	code, said := l.does(args...)
	switch {
	case code == exit.Internal, code == exit.Usage && !strings.Contains(said, "--yes"):
		l.fail("a hint names a command that ends with %d\n%s", code, said)
	case code == exit.BadState && said == text:
		l.fail("hints lead in a circle:\n%s", said)
	case code == exit.OK && args[0] == "abort":
		l.killed = nil
	}
	l.served(before, args, false)
	l.leased(args, code)
	l.truth()
}

// choose is the next command, with the exit codes that it may end with, or
// something that is no command.
func (l *life) choose() ([]string, []exit.Code) {
	if l.killed != nil && l.random.IntN(2) == 0 {
		if l.random.IntN(2) == 0 {
			l.elsewhere()
		}
		if l.random.IntN(2) == 0 {
			return l.killed, []exit.Code{exit.OK, exit.Failed, exit.BarrierClosed, exit.Usage}
		}
		return []string{"abort"}, []exit.Code{exit.OK, exit.Usage}
	}
	switch l.random.IntN(20) {
	case 0, 1, 2:
		return l.deploying(), []exit.Code{exit.OK}
	case 3:
		args := l.deploying()
		l.behave(args[len(args)-1], hosttest.Behaviour{Slow: 30e6})
		return args, []exit.Code{exit.OK}
	case 4, 5:
		l.broken++
		version := fmt.Sprintf("b%d", l.broken)
		l.behave(version, hosttest.Behaviour{Exit: new(3)})
		return []string{"deploy", "--image", l.image(version), "--version", version}, []exit.Code{exit.BarrierClosed}
	case 6:
		args := l.redeploying()
		if args[0] == "redeploy" && l.random.IntN(2) == 0 {
			args = append(args, "--force")
		}
		return args, []exit.Code{exit.OK}
	case 7, 8:
		return []string{"rollback"}, []exit.Code{exit.OK, exit.Failed}
	case 9:
		if l.versions == 0 {
			return nil, nil
		}
		return []string{"rollback", fmt.Sprintf("v%d", 1+l.random.IntN(l.versions))}, []exit.Code{exit.OK, exit.Failed}
	case 10:
		return []string{"abort"}, []exit.Code{exit.OK, exit.Usage}
	case 11:
		role := []string{"web", "job"}[l.random.IntN(2)]
		return []string{"app", "stop", "--roles", role}, []exit.Code{exit.OK, exit.Failed}
	case 12:
		return []string{"app", "start"}, []exit.Code{exit.OK, exit.Failed}
	case 13:
		return []string{"app", "restart"}, []exit.Code{exit.OK, exit.Failed}
	case 14:
		return []string{"prune"}, []exit.Code{exit.OK, exit.BadState, exit.MissingState}
	case 15:
		return []string{"lock", "acquire", "--message", "maintenance"}, []exit.Code{exit.OK}
	case 16:
		return []string{"lock", "release"}, []exit.Code{exit.OK}
	case 17:
		return []string{"env", "push"}, []exit.Code{exit.OK}
	case 18:
		l.env["USER"] = map[string]string{"ann": "bob", "bob": "ann"}[l.env["USER"]]
		l.commands = append(l.commands, l.env["USER"]+" goes on")
		return nil, nil
	default:
		l.elsewhere()
		return nil, nil
	}
}

// elsewhere goes on in another folder, or in the one before.
func (l *life) elsewhere() {
	l.t.Helper()
	here, there := filepath.Join(l.dir, "kstep-state"), filepath.Join(l.dir, "kstep-state-elsewhere")
	for _, dir := range []string{here, there} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, move := range [][2]string{{here, here + "-before"}, {there, here}, {here + "-before", there}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			l.t.Fatal(err)
		}
	}
	l.commands = append(l.commands, "from another folder")
}

// allowed judges an exit code. Who has the lease keeps others out.
func (l *life) allowed(code exit.Code, text string, wants []exit.Code) bool {
	switch {
	case code == exit.LeaseHeld:
		return l.locked || l.underway
	case code == exit.Failed && slices.Contains(wants, exit.Failed):
		return strings.Contains(text, "cannot go back") || strings.Contains(text, "in service")
	}
	return slices.Contains(wants, code)
}

// served expects what served before a command to serve after it, unless the command
// is one that says it stops, or takes down a first release that never completed. A
// worker that must not overlap with its successor has a moment without any: there
// its command may have been killed.
func (l *life) served(before map[string]string, args []string, killed bool) {
	l.t.Helper()
	if args[0] == "app" && args[1] == "stop" || !l.complete {
		return
	}
	now := l.serving()
	for target, was := range before {
		if was != "" && now[target] == "" && (target != "job@vm3" || !killed) {
			l.fail("%s does not serve any more; it was %s", target, was)
		}
	}
}

// took expects what a successful command promised.
func (l *life) took(args []string, code exit.Code, back string) {
	l.t.Helper()
	if code != exit.OK {
		return
	}
	want := back
	switch args[0] {
	case "deploy", "redeploy":
		want = args[slices.Index(args, "--version")+1]
	case "rollback":
		if len(args) > 1 {
			want = args[1]
		}
	case "app":
		if args[1] == "stop" {
			l.stopped[args[3]] = true
		} else {
			l.stopped = map[string]bool{}
		}
		return
	default:
		return
	}
	l.completed()
	for target, is := range l.serving() {
		if is == "" || want != "" && !strings.Contains(is+"\n", want+"\n") && !strings.Contains(is, "-"+want) {
			l.fail("%s is %q after a %s to %s", target, is, args[0], want)
		}
	}
}

// leased expects a free lease, except for manual holds and a killed release.
func (l *life) leased(args []string, code exit.Code) {
	l.t.Helper()
	if args[0] == "lock" && args[1] != "status" && code == exit.OK {
		l.locked = args[1] == "acquire"
	}
	_, stdout, _ := l.kstep("lock", "status")
	free := strings.HasPrefix(stdout, "free")
	if free {
		l.underway = false
	}
	if !free && !l.locked && !l.underway {
		l.fail("the lease is not free: %s", stdout)
	}
}

// truth expects status to say what a request gets.
func (l *life) truth() {
	l.t.Helper()
	now := l.serving()
	for _, one := range l.statusReport().Targets {
		if one.Role != "web" {
			continue
		}
		got := strings.TrimPrefix(strings.TrimSpace(now["web@"+one.Host]), "version ")
		routed := one.Routed != nil && *one.Routed
		if routed != (got != "") || routed && got != one.Version {
			l.fail("status shows %s on %s (traffic: %t), and a request gets %q", one.Version, one.Host, routed, got)
		}
	}
}

// end follows the hints to a deploy that succeeds.
func (l *life) end() {
	l.t.Helper()
	if l.locked {
		l.does("lock", "release")
	}
	before := l.serving()
	if code, text := l.does("abort"); code != exit.OK && code != exit.Usage && code != exit.LeaseHeld {
		l.fail("the last abort ends with %d\n%s", code, text)
	}
	l.served(before, []string{"abort"}, false)
	if _, stdout, _ := l.kstep("lock", "status"); !strings.HasPrefix(stdout, "free") {
		l.does("lock", "release", "--force")
	}
	args := l.deploying()
	code, text := l.does(args...)
	if code != exit.OK {
		l.fail("the last deploy ends with %d\n%s", code, text)
	}
	l.took(args, code, "")
	l.truth()
	l.free()
	if stdout, _ := l.exits(exit.OK, "app", "stale-containers"); strings.Contains(stdout, "shop-") {
		l.fail("something was left running:\n%s", stdout)
	}
}
