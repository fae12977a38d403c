package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/host"
)

// meddling is a change of a host that kstep does not make and does not see.
type meddling struct {
	name string
	// users says that it takes away what users are served by.
	users bool
	do    func(g *ground, hostName string) error
}

func meddlings() []meddling {
	return []meddling{
		{"the engine restarts", true, func(g *ground, hostName string) error {
			g.hosts[hostName].Engine.Restart()
			return nil
		}},
		{"docker start of an old container", false, func(g *ground, hostName string) error {
			return g.byHand(hostName, func(c engine.Container) bool { return c.State == "exited" }, (*engine.Client).Start)
		}},
		{"docker rm of a new container", true, func(g *ground, hostName string) error {
			return g.byHand(hostName, g.isNew, (*engine.Client).Remove)
		}},
		{"docker stop of a new container", true, func(g *ground, hostName string) error {
			return g.byHand(hostName, g.isNew, func(e *engine.Client, ctx context.Context, id string) error {
				return e.Stop(ctx, id, engine.Stop{})
			})
		}},
		{"docker rm of an old container", false, func(g *ground, hostName string) error {
			return g.byHand(hostName, func(c engine.Container) bool { return c.State == "exited" }, (*engine.Client).Remove)
		}},
	}
}

func (g *ground) isNew(c engine.Container) bool { return c.Labels[engine.LabelVersion] == g.name() }

// byHand does something with the first container of the application that is
// meant. There need not be one.
func (g *ground) byHand(hostName string, meant func(engine.Container) bool, do func(*engine.Client, context.Context, string) error) error {
	look := g.hosts[hostName].Look()
	defer look.CloseIdle()
	all, err := look.Containers(g.t.Context(), engine.Filter{Labeled: []string{engine.LabelRole}, All: true})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b engine.Container) int { return strings.Compare(a.Name, b.Name) })
	at := slices.IndexFunc(all, meant)
	if at < 0 {
		return nil
	}
	if err := do(look, g.t.Context(), all[at].ID); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	return nil // kstep removes it at the same time.
}

// meddle changes a host before an operation of a stage, and says what is wrong
// afterwards. blameless says that users may have felt the change itself.
func (g *ground) meddle(a attempt) (fired, blameless bool, problem string) {
	if problem := g.prepare(a.stage); problem != "" {
		return false, false, problem
	}
	m := meddlings()[a.fault.At%len(meddlings())]
	i := &fault.Injector{Fault: a.fault, Change: func(op host.Op) {
		if err := m.do(g, op.Host); err != nil {
			g.t.Errorf("%s on %s: %v", m.name, op.Host, err)
		}
	}}
	before := g.ownState(a.stage)
	code, text := g.run(i, g.command(a.stage)...)
	said := fmt.Sprintf("(%s at %v: exit code %d)\n%s", m.name, i.Where(), code, text)
	blameless = m.users
	if problem := g.truthful(a, code, before); problem != "" {
		return i.Fired(), blameless, problem + " " + said
	}
	if problem := g.whatServes(a, m, code); problem != "" {
		return i.Fired(), blameless, problem + " " + said
	}
	rest := append([]string{a.stage}, after(a.stage)...)
	if isScenario(a.stage) && stateOf(a.stage) == "" && code == exit.OK {
		rest = nil // Run again, it would begin another release.
	}
	if a.stage == "prune" || isScenario(a.stage) {
		rest = append(rest, "deploy") // What was stopped or started by hand after the last look is not the stage's to start or stop.
	}
	if problem := g.goesOn(rest); problem != "" {
		return i.Fired(), blameless, problem + " " + said
	}
	if problem := g.lasting(); problem != "" {
		return i.Fired(), blameless, problem + " " + said
	}
	return i.Fired(), blameless, g.leaks()
}

// whatServes holds what users get against the exit code.
func (g *ground) whatServes(a attempt, m meddling, code exit.Code) string {
	if code != exit.OK && m.users {
		return "" // A person may have taken away what served.
	}
	for hostName := range g.hosts {
		want := []string{g.name()}
		if code != exit.OK || slices.Contains(after(a.stage), "cutover") {
			want = append(want, g.before(a.stage))
		}
		if a.stage == "prune" && m.users {
			continue // It ended by hand after the cutover had reported success.
		}
		got := g.settlesOn(hostName, want)
		if got != "" && !(m.users && code == exit.OK && g.diedByHand(hostName)) {
			return fmt.Sprintf("exit code %d, but %s answers %s", code, hostName, got)
		}
	}
	return ""
}

// diedByHand reports whether a container of the new version is missing or does
// not run: the change came after the stage's last look at it.
func (g *ground) diedByHand(hostName string) bool {
	n := 0
	for _, c := range g.containers(hostName) {
		if g.isNew(c) && c.Labels[engine.LabelRole] == "web" && c.Running() {
			n++
		}
	}
	return n < 2
}

// settlesOn waits until a host answers with one of the versions, and returns
// what it answers instead.
func (g *ground) settlesOn(hostName string, versions []string) (got string) {
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		var status int
		status, got = g.get(hostName)
		if status == 200 && slices.ContainsFunc(versions, func(v string) bool { return strings.Contains(got, v) }) {
			return ""
		}
	}
	return got
}

// goesOn runs the stages, or where one of them refuses, a new deploy.
func (g *ground) goesOn(stages []string) string {
	var said string
	for _, stage := range stages {
		code, text := g.run(nil, g.command(stage)...)
		if code == exit.OK {
			continue
		}
		said = text
		if code, text := g.run(nil, append(g.command("deploy"), "--new-release", "--wait", "30s")...); code != exit.OK {
			return fmt.Sprintf("run again, %s refuses (%s), and a new deploy ends with %d\n%s", stage, said, code, text)
		}
		return ""
	}
	return ""
}

// lasting says what is wrong with what runs in the end: only the new version
// may, all of it, and only that may run after a restart of the engine.
func (g *ground) lasting() string {
	want := map[string]int{"vm1 web": 2, "vm2 web": 2, "vm2 job": 1}
	got := map[string]int{}
	for hostName := range g.hosts {
		look := g.hosts[hostName].Look()
		for _, c := range g.containers(hostName) {
			role := c.Labels[engine.LabelRole]
			if role == "" {
				continue
			}
			now, err := look.Inspect(g.t.Context(), c.ID)
			switch {
			case err != nil:
				return err.Error()
			case now.Running() && g.isNew(c) && now.Restart == "unless-stopped":
				got[hostName+" "+role]++
			case now.Up() || now.State == "exited" && now.Restart != engine.RestartNo:
				return fmt.Sprintf("%s on %s is %s, with the restart policy %s", c.Name, hostName, now.State, now.Restart)
			}
		}
		look.CloseIdle()
		if answer := g.settlesOn(hostName, []string{g.name()}); answer != "" {
			return fmt.Sprintf("in the end %s answers %s", hostName, answer)
		}
	}
	if !maps.Equal(want, got) {
		return fmt.Sprintf("of the new version run %v, want %v", got, want)
	}
	return ""
}
