package main

import (
	"bytes"
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
	case <-ended: // It had fewer operations than were counted.
		if code, text := g.run(nil, "lock", "release", "--force"); code != exit.OK {
			return false, fmt.Sprintf("free the lease: exit code %d\n%s", code, text)
		}
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
	case a.fault.Kind == fault.StaleView && late == exit.OK && alters(a.stage) && !copies(at):
		return true, fmt.Sprintf("with the view of %v from before another release, it reports success\n%s", at, said)
	case late != exit.LeaseHeld && late != exit.BadState && late != exit.OK:
		return true, fmt.Sprintf("frozen at %v, it ends with %d\n%s", at, late, said)
	}
	return true, g.leaks()
}

// copies tells looks at the copies of state files on a host. They come when the
// stage is over, and its own file says how it ended, before another release began.
func copies(op host.Op) bool { return strings.Contains(op.Path, "/.kstep/shop/state/") }

// alters tells stages that change what serves.
func alters(stage string) bool { return stage == "cutover" || stage == "deploy" }

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
