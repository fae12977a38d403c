package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// A container that was stopped and kept must stay stopped, but an engine that
// restarts starts containers by their restart policy: `always` also those that
// were stopped, `on-failure` those that ended with another status than 0 (a JVM
// ends with 143 on SIGTERM). So whatever kstep stops and keeps has the policy
// `no` until kstep starts it again. The functions in this file are the only
// ones that stop and start the application's containers; a test in
// internal/arch checks that.
//
// The policy is changed while the container does not run: StopAndKeep stops and
// then changes it, StartAgain changes it and then starts. A run that is killed
// in between leaves a stopped container with its own policy, which KeepStopped
// finds, and never a container that serves with the policy `no`.

// StopAndKeep stops containers that stay on the host, all at once, and sets
// their restart policy to `no`. One that does not run only gets the policy.
// Empty fields of how mean what the container was created with.
func StopAndKeep(ctx context.Context, w *Work, all []engine.Container, how engine.Stop) error {
	stopped, err := stop(ctx, w, all, how)
	return errors.Join(err, setNoRestart(ctx, w, stopped))
}

// idleGrace is how long a container of a role with traffic may take to end if it
// has had none: it has no request to finish.
const idleGrace = 5 * time.Second

// StopUnserved is StopAndKeep for containers of w's target that have never been in
// service. Those of a role without traffic may be at work: they have the role's
// whole time.
func StopUnserved(ctx context.Context, in Input, w *Work, all []engine.Container) error {
	grace := in.Config.EffectiveStop(w.Target.Role)
	how := engine.Stop{Signal: grace.Signal, Timeout: grace.Timeout.D()}
	if w.Target.Proxied {
		how.Timeout = min(how.Timeout, idleGrace)
	}
	return StopAndKeep(ctx, w, all, how)
}

// StopToRemove stops containers that are removed next, all at once.
func StopToRemove(ctx context.Context, w *Work, all []engine.Container) error {
	_, err := stop(ctx, w, all, engine.Stop{})
	return err
}

func stop(ctx context.Context, w *Work, all []engine.Container, how engine.Stop) ([]engine.Container, error) {
	var mu sync.Mutex
	var stopped []engine.Container
	err := AtOnce(all, func(c engine.Container) error {
		began := time.Now()
		if err := w.Host.Engine().Stop(ctx, c.ID, how); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		shortened := how.Timeout > 0 && w.Target.Proxied // It had no traffic, and loses nothing.
		if !shortened && c.Up() && time.Since(began) >= shortestGrace {
			w.warnIfKilled(ctx, c)
		}
		mu.Lock()
		defer mu.Unlock()
		stopped = append(stopped, c)
		return nil
	})
	return stopped, err
}

// shortestGrace is the shortest time after which an engine kills a container that
// does not end: it counts in seconds.
const shortestGrace = time.Second

// killedStatus is the exit status of a process that ended by SIGKILL.
const killedStatus = 137

// warnIfKilled warns about a container that did not end by its stop signal: requests
// or jobs that it worked on are lost.
func (w *Work) warnIfKilled(ctx context.Context, c engine.Container) {
	now, err := w.Host.Engine().Inspect(ctx, c.ID)
	if err != nil || now.ExitCode != killedStatus || now.OOMKilled {
		return
	}
	role := w.Target.Role
	hint := "if it needs longer to finish, raise stop.timeout"
	if init := role.Options.Init; role.Name != "" && (init == nil || !*init) {
		hint = fmt.Sprintf("if its first process ignores the stop signal, as a shell or sleep does, set servers.%s.options: {init: true} or stop.signal; %s", role.Name, hint)
	}
	w.in.Warn("%s: container %s did not end within its stop.timeout and was killed (exit status %d): work in progress is lost; %s",
		w.Target.Host, c.Name, now.ExitCode, hint)
}

// StartAgain starts a container, with the restart policy that it was created
// with.
func StartAgain(ctx context.Context, w *Work, book ledger.Ledger, c engine.Container) error {
	if !neverStarted(c) || c.Restart != "" {
		if _, err := RestoreRestart(ctx, w, book, c); err != nil {
			return err
		}
	}
	return w.Host.Engine().Start(ctx, c.ID)
}

// RestoreRestart gives a container the restart policy back that it was created
// with, and reports whether it had another one, or was not known to have it.
func RestoreRestart(ctx context.Context, w *Work, book ledger.Ledger, c engine.Container) (bool, error) {
	own := OwnRestart(w, book, c)
	if c.Restart == own {
		return false, nil
	}
	if err := w.Host.Engine().SetRestart(ctx, c.ID, own); err != nil {
		return false, fmt.Errorf("%s: %w", c.Name, err)
	}
	return true, nil
}

// OwnRestart is the restart policy that a container was created with. It is in
// a label. Versions of kstep before the label have left none: then the ledger
// knows it if kstep has changed it, and else the config's stands for it.
func OwnRestart(w *Work, book ledger.Ledger, c engine.Container) string {
	for _, known := range []string{c.Labels[engine.LabelRestart], book.Restart[c.ID]} {
		if engine.IsRestartPolicy(known) {
			return known
		}
	}
	return plan.RestartPolicy(w.Target.Role)
}

// KeepStopped sets the restart policy of those containers to `no` that do not
// run and that the engine would start again, and returns them. Who calls it
// leaves out what is in service, also what has crashed.
func KeepStopped(ctx context.Context, w *Work, all []engine.Container) ([]engine.Container, error) {
	found, err := Restartable(ctx, w, all)
	if err != nil {
		return nil, err
	}
	return found, setNoRestart(ctx, w, found)
}

// Restartable are those of the containers that do not run, and that the engine
// may start again when it restarts. It changes nothing.
func Restartable(ctx context.Context, w *Work, all []engine.Container) ([]engine.Container, error) {
	down := slices.DeleteFunc(slices.Clone(all), func(c engine.Container) bool { return c.Up() || neverStarted(c) })
	known, err := inspectUnknown(ctx, w, down)
	return slices.DeleteFunc(known, func(c engine.Container) bool {
		return c.Up() || neverStarted(c) || c.Restart == engine.RestartNo
	}), err
}

// NoRestart is the act of KeepStopped.
func NoRestart(c engine.Container) Act { return SettingRestart(c, engine.RestartNo) }

// SettingRestart is the act of changing a restart policy.
func SettingRestart(c engine.Container, policy string) Act {
	return To(Set, "the restart policy of %s to %s", c.Name, policy)
}

// neverStarted reports whether the container has never run. An engine that
// restarts does not start it.
func neverStarted(c engine.Container) bool { return c.State == "created" }

// inspectUnknown fills in what lists do not show, and leaves out containers that
// are gone.
func inspectUnknown(ctx context.Context, w *Work, all []engine.Container) ([]engine.Container, error) {
	var mu sync.Mutex
	seen := map[string]engine.Container{}
	err := AtOnce(all, func(c engine.Container) error {
		var err error
		if c.Restart == "" {
			c, err = w.Host.Engine().Inspect(ctx, c.ID)
		}
		if errors.Is(err, engine.ErrNotFound) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		seen[c.ID] = c
		return err
	})
	var known []engine.Container
	for _, c := range all {
		if now, ok := seen[c.ID]; ok {
			known = append(known, now)
		}
	}
	return known, err
}

// setNoRestart sets the restart policy of containers that do not run to `no`. A
// policy that only the engine knows is recorded before.
func setNoRestart(ctx context.Context, w *Work, all []engine.Container) error {
	all = slices.DeleteFunc(slices.Clone(all), neverStarted)
	if err := recordRestart(ctx, w, all); err != nil {
		return err
	}
	return AtOnce(all, func(c engine.Container) error {
		if c.Restart == engine.RestartNo {
			return nil
		}
		err := w.Host.Engine().SetRestart(ctx, c.ID, engine.RestartNo)
		if err != nil && !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		return nil
	})
}

func recordRestart(ctx context.Context, w *Work, all []engine.Container) error {
	unlabelled := slices.DeleteFunc(slices.Clone(all), func(c engine.Container) bool {
		return engine.IsRestartPolicy(c.Labels[engine.LabelRestart])
	})
	known, err := inspectUnknown(ctx, w, unlabelled)
	if err != nil {
		return err
	}
	policies := map[string]string{}
	for _, c := range known {
		if c.Restart != engine.RestartNo {
			policies[c.ID] = c.Restart
		}
	}
	if len(policies) == 0 {
		return nil
	}
	return w.Note(ctx, func(book *ledger.Ledger) bool { return book.KeepRestart(policies) })
}
