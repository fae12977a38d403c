package abort

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// undo goes the way back at one target. Each step leaves a host that serves,
// and may be the last one: a rerun goes on with what is left.
func (a *abort) undo(ctx context.Context, w *stages.Work, way Way) (state.AbortTarget, error) {
	out := state.AbortTarget{Containers: engine.IDs(way.Keep)}
	w.Containers = out.Containers
	if way.Over {
		w.Say("a newer release has changed this host: nothing to abort")
		return out, nil
	}
	if way.Stuck != "" { // Since the release was found to have a way back.
		return out, exit.With(exit.Failed, fmt.Errorf("%s: what runs now is left serving", way.Stuck))
	}
	u := &undo{in: a.in, unserved: a.unserved && !way.Moved && !way.Noted && !way.Taken, w: w, way: way, book: way.book, out: &out}
	var err error
	if w.Target.Proxied {
		err = u.proxied(ctx)
	} else {
		err = u.plain(ctx)
	}
	if err == nil {
		err = u.settle(ctx)
	}
	if err == nil {
		err = u.remove(ctx)
	}
	out.Done = err == nil
	return out, err
}

// before is the work with the role as it was when the old containers served: the
// release may have another port.
func (u *undo) before() *stages.Work {
	t := u.w.Target
	t.Role = stages.AsServed(u.in.Config, t.Role, u.way.was)
	return u.w.Of(t)
}

type undo struct {
	in   stages.Input
	w    *stages.Work
	way  Way
	book ledger.Ledger
	out  *state.AbortTarget

	unserved bool // The new containers have never been in service.
}

// settle makes sure that after a restart of the engine the same containers run
// as now. What an earlier run of abort, or a person, stopped or started may
// have another restart policy.
func (u *undo) settle(ctx context.Context) error {
	kept, err := stages.KeepStopped(ctx, u.w, u.way.Rest)
	for _, c := range kept {
		u.w.Made(stages.NoRestart(c))
	}
	return errors.Join(err, stages.AtOnce(u.way.Keep, func(c engine.Container) error {
		now, err := u.w.Host.Engine().Inspect(ctx, c.ID)
		if err != nil {
			return err
		}
		changed, err := stages.RestoreRestart(ctx, u.w, u.book, now)
		if changed {
			u.w.Made(stages.SettingRestart(now, stages.OwnRestart(u.w, u.book, now)))
		}
		return err
	}))
}

// proxied gives the traffic to the old containers, once they can take it, and
// takes the new ones down.
func (u *undo) proxied(ctx context.Context) error {
	if err := u.start(ctx); err != nil {
		return err
	}
	if u.way.Moved {
		if err := u.move(ctx); err != nil {
			return err
		}
	}
	if err := u.untie(ctx); err != nil {
		return err
	}
	return u.stop(ctx)
}

// move takes the traffic from the new containers, and lets them finish what
// they have. On a first deploy no container gets it: the proxy itself answers.
func (u *undo) move(ctx context.Context) error {
	limit := u.in.Config.Cutover.Timeout.D()
	moving, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	keep := u.way.Keep
	front, runs, err := stages.Proxy(moving, u.w)
	if err != nil {
		return err
	}
	if len(keep) == 0 {
		route := traffic.Role{Host: u.w.Host, Names: u.w.Names, Name: u.w.Target.Role.Name, Config: u.in.Config, Word: stages.Word(u.w, front, runs)}
		if err := route.RemoveRoute(moving); err != nil {
			return err
		}
		u.w.Did("removed the route")
		return u.drain(ctx, front)
	}
	in := u.in
	if was := u.way.was.Requests; was != nil { // The release may have changed them.
		cfg := *in.Config
		if cfg.Proxy, err = cfg.Proxy.WithRouteSettings(was.Settings); err != nil {
			return fmt.Errorf("read the route of the version before: %w", err)
		}
		cfg.Proxy.Hosts, cfg.Proxy.PathPrefix, cfg.Proxy.Fallback = was.Hosts, was.PathPrefix, was.Fallback
		in.Config = &cfg
	}
	to := stages.SwitchOf(stages.SwitchKind(u.w, keep[0]), in, u.before(), stages.Word(u.w, front, runs))
	if err := to.Admit(moving, keep); err != nil {
		return fmt.Errorf("move traffic back: %w", err)
	}
	if err := to.Dismiss(moving, u.way.Down); err != nil {
		return fmt.Errorf("move traffic back: %w", err)
	}
	u.w.Did("moved traffic back to %s", engine.NamesOf(keep))
	return u.drain(ctx, front)
}

// drain lets the new containers finish what they have.
func (u *undo) drain(ctx context.Context, front engine.Container) (err error) {
	u.out.Drain, err = stages.Drain(ctx, u.in, u.w, front, u.way.Down)
	return err
}

// untie cuts the cords of the containers that go down, so that none is healthy
// by itself when it is started again.
func (u *undo) untie(ctx context.Context) error {
	for _, c := range u.way.Down {
		dir := cord.Dir(c, u.w.Names.CordPrefix(u.w.Target.Role.Name))
		if dir == "" {
			continue
		}
		if err := cord.Cut(ctx, u.w.Host.Files(), dir); err != nil {
			return err
		}
	}
	return nil
}

// plain exchanges containers of a role without traffic. Those that must not
// overlap do not here either; where the old ones do not start, the new ones do
// again.
func (u *undo) plain(ctx context.Context) error {
	if u.w.Target.Role.Start != "after-barrier" {
		if err := u.start(ctx); err != nil {
			return err
		}
		return u.stop(ctx)
	}
	if err := u.stop(ctx); err != nil {
		return err
	}
	err := u.start(ctx)
	if err != nil {
		u.out.Stopped = nil
		err = errors.Join(err, startDown(ctx, u.w, u.way))
	}
	return err
}

// startDown starts the new containers again that were stopped.
func startDown(ctx context.Context, w *stages.Work, way Way) error {
	ctx = context.WithoutCancel(ctx)
	return stages.AtOnce(way.Down, func(c engine.Container) error {
		c.Restart = "" // It is `no` since it was stopped.
		if err := stages.StartAgain(ctx, w, way.book, c); err != nil {
			return fmt.Errorf("start the new container %s again: %w", c.Name, err)
		}
		w.Did("started %s again", c.Name)
		return nil
	})
}

// start lets those of the old containers run again that do not, and sees them
// ready.
func (u *undo) start(ctx context.Context) error {
	stopped := u.way.stopped()
	if len(stopped) == 0 {
		return nil
	}
	if err := stages.AtOnce(stopped, func(c engine.Container) error { return u.again(ctx, c) }); err != nil {
		return err
	}
	for _, c := range stopped {
		u.out.Restarted = true
		u.w.Did("started %s again", c.Name)
	}
	for i, c := range u.way.Keep {
		now, err := u.w.Host.Engine().Inspect(ctx, c.ID)
		if err != nil {
			return err
		}
		u.way.Keep[i] = now // It has an address now.
	}
	return nil
}

// again lets one container run again, and sees it ready.
func (u *undo) again(ctx context.Context, keep engine.Container) error {
	if keep.State == "paused" || keep.State == "restarting" {
		return fmt.Errorf("the old container %s is %s: what runs now is left serving", keep.Name, keep.State)
	}
	if err := stages.StartAgain(ctx, u.w, u.book, keep); err != nil {
		return fmt.Errorf("start the old container %s again: %w", keep.Name, err)
	}
	limit := u.in.Config.Barrier.Timeout.D()
	waiting, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "not ready within %s", limit))
	defer cancel()
	check := stages.Ready(u.in, u.before(), keep.ID)
	check.Cord = u.w.Target.Proxied && stages.SwitchKind(u.w, keep) == "cord"
	check.Proven = true
	_, err := check.Wait(waiting)
	if err != nil {
		return fmt.Errorf("wait for the old container %s: %w", keep.Name, err)
	}
	return nil
}

// stop ends the new containers, all at once. Those that may have served get the
// signal and grace they were made with. They stay, to show what
// went wrong, until prune removes them.
func (u *undo) stop(ctx context.Context) error {
	var err error
	if u.unserved {
		err = stages.StopUnserved(ctx, u.in, u.w, u.way.Down)
	} else {
		err = stages.StopAndKeep(ctx, u.w, u.way.Down, engine.Stop{})
	}
	if err != nil {
		return fmt.Errorf("new container %w", err)
	}
	for _, c := range u.way.Down {
		u.out.Stopped = append(u.out.Stopped, c.ID)
		u.w.Did("stopped %s", c.Name)
	}
	return nil
}

// remove takes away what was only created, so that no late job starts it.
func (u *undo) remove(ctx context.Context) error {
	for _, c := range u.way.Unused {
		if err := u.w.Host.Engine().Remove(ctx, c.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return fmt.Errorf("new container %s: %w", c.Name, err)
		}
		u.w.Did("removed %s, which never ran", c.Name)
	}
	return nil
}
