package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// configureApp declares `kstep app …`: the application's containers by hand.
func configureApp(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("app", "Manage the application's containers. kstep reads from the hosts which ones are in service.")
	for _, one := range []struct {
		name, help string
		act        appAct
	}{
		{"start", "Start the containers in service that were stopped, and wait until they are ready.", startApp},
		{"stop", "Stop the containers in service. Nothing serves there until app start or the next deploy.", stopApp},
	} {
		cmd.Command(one.name, one.help)
		command := "app " + one.name
		actions[command] = p.inSession(command, func(ctx context.Context, s *stages.Session) error {
			return stages.Outside(ctx, s, command, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
				return eachInService(ctx, in, one.act)
			})
		})
	}
	configureAppRestart(p, cmd, actions)
	configureMaintenance(p, cmd, actions)
	configureAppShow(p, cmd, actions)

	configureAppLogs(p, cmd, actions)

	exec := cmd.Command("exec", "Run a program in a running container of each role on each host, without a shell, and show what it prints. Put -- before it: kstep app exec -- bin/console.")
	once := exec.Flag("once", "In one container only: on the first host of the primary role that the filters leave.").Bool()
	interactive := interactiveFlag(exec)
	argv := exec.Arg("program", "The program and its arguments.").Required().Strings()
	actions["app exec"] = p.inSession("app exec", func(ctx context.Context, s *stages.Session) error {
		return appExec(ctx, s, *once || *interactive, *argv, p.runner(*interactive))
	})
}

// inService are the containers that serve, or would if they ran.
func inService(t plan.Target, seen stages.Seen) []engine.Container {
	if live := seen.Live(t.Role.Name, t.Proxied); len(live) > 0 {
		return live
	}
	return seen.Find(seen.Book.Live(t.Role.Name))
}

// serving are a target's containers in service; at least one.
func serving(ctx context.Context, in stages.Input, w *stages.Work) ([]engine.Container, error) {
	_, live, err := observeServing(ctx, in, w)
	return live, err
}

func observeServing(ctx context.Context, in stages.Input, w *stages.Work) (stages.Seen, []engine.Container, error) {
	seen, err := stages.Observe(ctx, in, w)
	if err != nil {
		return seen, nil, err
	}
	live := inService(w.Target, seen)
	if len(live) == 0 {
		return seen, nil, exit.Hint(fmt.Errorf("nothing of role %s is in service on %s", w.Target.Role.Name, w.Target.Host), "kstep status shows what is there")
	}
	return seen, live, nil
}

// appAct is done with a target's containers in service.
type appAct func(context.Context, stages.Input, *stages.Work, ledger.Ledger, []engine.Container) error

func eachInService(ctx context.Context, in stages.Input, act appAct) ([]state.Target, error) {
	records, _, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		seen, live, err := observeServing(ctx, in, w)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, act(ctx, in, w, seen.Book, live)
	})
	return records, err
}

// stopApp stops containers until app start or the next deploy. They do not come
// back with the engine or the machine, whatever their restart policy.
func stopApp(ctx context.Context, _ stages.Input, w *stages.Work, _ ledger.Ledger, live []engine.Container) error {
	down, err := stages.KeepStopped(ctx, w, live) // An earlier run may have been killed in between.
	for _, c := range down {
		w.Made(stages.NoRestart(c))
	}
	if err != nil {
		return err
	}
	return stages.AtOnce(live, func(c engine.Container) error {
		if !c.Up() {
			return nil
		}
		err := stages.StopAndKeep(ctx, w, []engine.Container{c}, engine.Stop{})
		if err == nil {
			w.Did("stopped %s", c.Name)
		}
		return err
	})
}

// startApp starts what is in service, and waits until it is ready and, where it
// is health that the proxy follows, until that has noticed.
func startApp(ctx context.Context, in stages.Input, w *stages.Work, book ledger.Ledger, live []engine.Container) error {
	down := slices.DeleteFunc(slices.Clone(live), engine.Container.Running)
	if err := ownRestart(ctx, w, book, live); err != nil {
		return err
	}
	if len(down) == 0 {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, in.Config.Barrier.Timeout.D())
	defer cancel()
	err := stages.AtOnce(down, func(c engine.Container) error { return startOne(ctx, within, in, w, book, c) })
	if err != nil {
		return err
	}
	kind := stages.SwitchKind(w, live[0])
	if !w.Target.Proxied || kind != "cord" {
		return nil
	}
	front, runs, err := stages.Proxy(ctx, w)
	if err != nil || !runs {
		return err
	}
	for i, c := range live { // They have other addresses now.
		if live[i], err = w.Host.Engine().Inspect(ctx, c.ID); err != nil {
			return err
		}
	}
	return stages.SwitchOf(kind, in, w, stages.Word(w, front, runs)).Admit(within, live)
}

// ownRestart gives containers that run their own restart policy back: a person
// may have started them after app stop.
func ownRestart(ctx context.Context, w *stages.Work, book ledger.Ledger, live []engine.Container) error {
	return stages.AtOnce(live, func(c engine.Container) error {
		if !c.Running() {
			return nil
		}
		now, err := w.Host.Engine().Inspect(ctx, c.ID)
		if err != nil {
			return err
		}
		changed, err := stages.RestoreRestart(ctx, w, book, now)
		if changed {
			w.Made(stages.SettingRestart(now, stages.OwnRestart(w, book, now)))
		}
		return err
	})
}

func startOne(ctx, within context.Context, in stages.Input, w *stages.Work, book ledger.Ledger, c engine.Container) error {
	if err := stages.StartAgain(ctx, w, book, c); err != nil {
		return err
	}
	w.Did("started %s", c.Name)
	check := stages.Ready(in, w, c.ID)
	check.Proven = true
	_, err := check.Wait(within)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%s is not ready: %w\n  %s", c.Name, err, strings.Join(ready.Diagnose(ctx, w.Host, c.ID), "\n  "))
	}
	return err
}

func appExec(ctx context.Context, s *stages.Session, once bool, argv []string, run runner) error {
	in, err := looking(s)
	if err != nil {
		return err
	}
	if once {
		at := max(0, slices.IndexFunc(in.Targets, func(t plan.Target) bool { return t.Primary }))
		in.Targets = in.Targets[at : at+1]
	}
	s.Hosts.Warm(ctx, plan.HostNames(in.Targets))
	return run(ctx, s, in, argv, func(ctx context.Context, w *stages.Work) (engine.Container, error) {
		live, err := serving(ctx, in, w)
		if err != nil {
			return engine.Container{}, err
		}
		for _, c := range live {
			if c.Running() {
				return c, nil
			}
		}
		return engine.Container{}, exit.Hint(fmt.Errorf("%s on %s does not run: it is %s", live[0].Name, w.Target.Host, live[0].State), "kstep app start")
	})
}
