package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// try makes one attempt, and says what is wrong afterwards.
func (g *ground) try(a attempt, want string) (fired bool, problem string) {
	if problem := g.prepare(a.stage); problem != "" {
		return false, problem
	}
	if fired, problem = g.disturb(a); problem != "" {
		return fired, problem
	}
	if problem := g.undisturbed(after(a.stage)...); problem != "" {
		return fired, problem
	}
	got := g.observe()
	if isScenario(a.stage) {
		got = anyHistory(got)
	}
	if got != want {
		return fired, "the hosts differ from an undisturbed run:\n" + difference(want, got) + g.said.String()
	}
	if isScenario(a.stage) {
		if problem := g.goOn(); problem != "" {
			return fired, problem
		}
	}
	return fired, g.leaks()
}

// undisturbed runs stages without a fault.
func (g *ground) undisturbed(stages ...string) (problem string) {
	for _, stage := range stages {
		if code, text := g.run(nil, g.command(stage)...); code != exit.OK {
			return fmt.Sprintf("%s, undisturbed itself: exit code %d\n%s", stage, code, text)
		}
	}
	return ""
}

// prepare makes the next version the one to deploy, and runs what comes before
// the stage.
func (g *ground) prepare(stage string) (problem string) {
	if s, ok := scenarios()[stage]; ok {
		return s.prepare(g)
	}
	g.next()
	if stage == "deploy" {
		return ""
	}
	return g.undisturbed(chain()[:slices.Index(chain(), stage)]...)
}

// after are the stages that follow.
func after(stage string) []string {
	if at := slices.Index(chain(), stage); at >= 0 {
		return chain()[at+1:]
	}
	return nil
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
	if code == exit.OK && isScenario(a.stage) && stateOf(a.stage) == "" && (a.fault.Kind != fault.Kill || !i.Fired()) {
		return i.Fired(), "" // Run again, it would begin another release.
	}
	again, text := g.run(nil, g.command(a.stage)...)
	if again != exit.OK {
		return i.Fired(), fmt.Sprintf("run again: exit code %d\n%s%s", again, text, said)
	}
	if got := g.status(a.stage); code == exit.OK && stateOf(a.stage) != "" && a.fault.Kind != fault.Kill && got != state.Unchanged {
		return i.Fired(), fmt.Sprintf("exit code 0, but run again it says %s\n%s%s", got, text, said)
	}
	return i.Fired(), ""
}

// freeze makes a stage stand still until another pipeline has deployed, and
// says what is wrong after it went on: it must not have changed anything.
func (g *ground) freeze(a attempt) (fired bool, problem string) {
	if problem := g.prepare(a.stage); problem != "" {
		return false, problem
	}
	frozen, thaw, ended := make(chan host.Op, 1), make(chan struct{}), make(chan exit.Code, 1)
	var said string
	args := g.command(a.stage)
	go func() {
		i := &fault.Injector{Fault: a.fault, Thaw: thaw, OnFault: func(op host.Op) { frozen <- op }}
		code, text := g.run(i, args...)
		said = text
		ended <- code
	}()
	var at host.Op
	select {
	case <-ended: // It had fewer operations than were counted.
		if code, text := g.run(nil, "lock", "release", "--force"); code != exit.OK {
			return false, fmt.Sprintf("free the lease: exit code %d\n%s", code, text)
		}
		return false, ""
	case at = <-frozen:
	}
	held := g.heldLease()
	rival := g.rival()
	code, text := rival.run(nil, append(rival.command("deploy"), "--wait", "1m")...)
	before := lastingly(a.stage, rival.observe())
	close(thaw)
	late := <-ended
	g.version, g.latest = rival.version, rival.latest
	if isScenario(a.stage) && !held {
		// It had not begun, and goes on as one that is started after the other release.
		return true, cmp.Or(g.goOn(), g.leaks())
	}
	switch after := lastingly(a.stage, rival.observe()); {
	case code != exit.OK:
		return true, fmt.Sprintf("frozen at %v, the next pipeline ends with %d\n%s", at, code, text)
	case before != after:
		return true, fmt.Sprintf("frozen at %v, it changed the hosts afterwards:\n%s%s", at, difference(before, after), said)
	case a.fault.Kind == fault.StaleView && late == exit.OK && alters(a.stage) && !copies(at):
		return true, fmt.Sprintf("with the view of %v from before another release, it reports success\n%s", at, said)
	case late != exit.LeaseHeld && late != exit.BadState && late != exit.OK:
		return true, fmt.Sprintf("frozen at %v, it ends with %d\n%s", at, late, said)
	}
	if isScenario(a.stage) {
		return true, cmp.Or(g.goOn(), g.leaks())
	}
	return true, g.leaks()
}

// heldLease reports whether a release has the lease.
func (g *ground) heldLease() bool {
	line := leaseLine(filepath.Join(g.hosts["vm1"].Home, ".kstep", "shop", "lease"))
	return line == "lease freed: false"
}

// lastingly leaves out what an abort that comes late adds, and that changes nothing: its
// own file, which says that the release is over.
func lastingly(stage, observed string) string {
	if stateOf(stage) != "abort" {
		return observed
	}
	return strings.ReplaceAll(observed, "file shop/state/RELEASE/abort.json\n", "")
}

// copies reports whether op touches the copy of a state file. Copies come after
// the stage and its own file, and before another release begins.
func copies(op host.Op) bool { return strings.Contains(op.Path, "/.kstep/shop/state/") }

// alters reports whether the stage changes what serves.
func alters(stage string) bool { return stage == "cutover" || stateOf(stage) == "" }

// truthful holds the exit code against the state file.
func (g *ground) truthful(a attempt, code exit.Code, before []byte) string {
	if a.fault.Kind == fault.Terminate && code != exit.Terminated && code != exit.OK {
		return "terminated, but the exit code says something else"
	}
	after := g.ownState(a.stage)
	if bytes.Equal(before, after) {
		if code == exit.OK && stateOf(a.stage) != "" {
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

// stateOf is the name of the state file that a row of the table has. Commands
// that run several stages have none.
func stateOf(stage string) string {
	switch {
	case slices.Contains(chain(), stage):
		return stage
	case strings.HasPrefix(stage, "abort"):
		return "abort"
	default:
		return ""
	}
}

// ownState is the state file of a stage, or nothing.
func (g *ground) ownState(stage string) []byte {
	data, _ := os.ReadFile(filepath.Join(g.stateDir(), stateOf(stage)+".json"))
	return data
}

func (g *ground) status(stage string) state.Status {
	var file state.File
	if json.Unmarshal(g.ownState(stage), &file) != nil {
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
