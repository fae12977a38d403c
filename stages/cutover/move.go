package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/probe"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// proxied moves a role that gets traffic.
func (m *move) proxied(ctx context.Context) error {
	live, current, err := m.live(ctx)
	if err != nil {
		return err
	}
	if m.settled(live) && current {
		m.out.Done = true
		m.moved()
		return m.secureSettled(ctx)
	}
	m.had = live
	if err := m.able(ctx); err != nil {
		return err
	}
	now, err := m.look(ctx)
	if err != nil {
		return err
	}
	m.closed(ctx, now.table)
	front, runs := now.front, now.runs
	if err := m.record(ctx); err != nil {
		return err
	}
	word := stages.Word(m.w, front, runs)
	to := stages.SwitchAmong(now.table, m.in, m.w, word)
	m.samples = stages.Samples(m.in, m.w, traffic.ClaimOf(m.in.Config, m.w.Target.Role.Name), now.table)
	m.hold = func(ctx context.Context) error { return m.holds(ctx, to, word) }
	watch := m.watch(ctx, now, len(live)+len(m.routes) > 0)
	err = m.admit(ctx, to, word, front, live)
	if err == nil {
		err = m.leave(ctx, to)
	}
	if err == nil && word != nil && m.in.Config.Proxy.Switch == "cord" {
		err = m.arrivesAlone(ctx, to, word, front, live)
	}
	if err == nil {
		m.moved()
		err = m.retire(ctx, front)
	}
	if watch != nil {
		count := watch.Stop()
		m.out.Probe = &count
		m.w.Say("probe: %d requests, %d failed, slowest %d ms", count.Requests, count.Failed, count.SlowestMs)
	}
	if err == nil && runs {
		err = stages.Secure(ctx, m.in, m.w, front)
	}
	return err
}

// secureSettled redirects plain HTTP to HTTPS where nothing had to move, and the proxy has
// not been looked at.
func (m *move) secureSettled(ctx context.Context) error {
	if !m.in.Config.Proxy.TLS.On {
		return nil
	}
	front, runs, err := stages.Proxy(ctx, m.w)
	if err != nil || !runs {
		return err
	}
	return stages.Secure(ctx, m.in, m.w, front)
}

// observe inspects the proxy and, at the same time, the old containers, whose
// processes the drain has to know.
func (m *move) observe(ctx context.Context) (front engine.Container, runs bool, err error) {
	var seen sync.WaitGroup
	for i, c := range m.old {
		seen.Go(func() {
			if now, err := m.w.Host.Engine().Inspect(ctx, c.ID); err == nil { // Else the drain tries again.
				m.old[i] = now
			}
		})
	}
	front, runs, err = stages.Proxy(ctx, m.w)
	seen.Wait()
	return front, runs, err
}

// admit gives the traffic to the new containers and sees with a request for
// each that it arrives; else the traffic goes back.
// The routes of orphans go in between.
func (m *move) admit(ctx context.Context, to traffic.Switch, word traffic.Word, front engine.Container, live []string) error {
	limit := m.in.Config.Cutover.Timeout.D()
	moving, cancel := context.WithTimeoutCause(ctx, limit,
		exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	err := to.Admit(moving, m.fresh)
	if err == nil {
		err = m.takeRoutes(moving, word)
	}
	if err == nil && word != nil {
		err = m.arrives(moving, front, to.Mark(m.fresh))
	}
	if err == nil {
		m.out.Switched = time.Now().UTC()
		m.w.Made(m.admitting(live))
		m.tookRoutes()
		return nil
	}
	return m.back(ctx, to, word, live, err)
}

// back returns the traffic to the containers that had it: old ones, orphans and,
// with another number of replicas, new ones that served before. It runs to its
// end also when the user interrupts: half a way back is the worst place to stop.
func (m *move) back(ctx context.Context, to traffic.Switch, word traffic.Word, live []string, cause error) error {
	var had, down []engine.Container
	for _, c := range slices.Concat(m.fresh, m.old) {
		isNew := slices.Contains(engine.IDs(m.fresh), c.ID)
		switch {
		case slices.Contains(live, c.ID) && (!isNew || slices.Contains(m.before, c.ID)):
			had = append(had, c)
		case isNew:
			down = append(down, c)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.in.Config.Cutover.Timeout.D())
	defer cancel()
	orphaned, err := m.restoreRoutes(ctx, word)
	returned := false
	if err == nil {
		returned, err = to.Return(ctx, had, down)
	}
	if err != nil { // The new containers may have it.
		return exit.With(exit.Partial, errors.Join(cause, fmt.Errorf("move traffic back: %w", err)))
	}
	m.out.Switched = time.Time{}
	if !returned || len(had)+len(m.removed) == 0 {
		return cause
	}
	m.w.Did("moved traffic back to %s", engine.NamesOf(slices.Concat(had, orphaned)))
	return exit.With(exit.RolledBack, fmt.Errorf("traffic moved back: %w", cause))
}

// leave takes the traffic from the old containers.
func (m *move) leave(ctx context.Context, from traffic.Switch) error {
	limit := m.in.Config.Cutover.Timeout.D()
	leaving, cancel := context.WithTimeoutCause(ctx, limit,
		exit.Errorf(exit.Deadline, "the proxy did not let go of the old container within %s", limit))
	defer cancel()
	return from.Dismiss(leaving, m.old)
}

// arrivesAlone checks again once the old containers have no traffic: with the cord
// both had it for a moment, and any of them may have answered.
func (m *move) arrivesAlone(ctx context.Context, to traffic.Switch, word traffic.Word, front engine.Container, live []string) error {
	limit := m.in.Config.Cutover.Timeout.D()
	asking, cancel := context.WithTimeoutCause(ctx, limit,
		exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	if err := m.arrives(asking, front, to.Mark(m.fresh)); err != nil {
		return m.back(ctx, to, word, live, err)
	}
	return nil
}

// retire lets the old containers finish what they have, and stops them.
func (m *move) retire(ctx context.Context, front engine.Container) error {
	m.out.Done = true
	return m.drainAndStop(ctx, front)
}

// drainAndStop lets the old containers finish, and stops them.
func (m *move) drainAndStop(ctx context.Context, front engine.Container) (err error) {
	if len(m.old) == 0 {
		return nil
	}
	if err := m.cutCords(ctx); err != nil {
		return err
	}
	if m.out.Drain, err = stages.Drain(ctx, m.in, m.w, front, m.old); err != nil {
		return err
	}
	if m.hold != nil {
		if err := m.hold(ctx); err != nil {
			return err
		}
	}
	return m.stop(ctx)
}

// watch counts requests through the proxy while the traffic moves; nil where
// there is none to count: no proxy of kstep's, or nothing live yet.
func (m *move) watch(ctx context.Context, now scene, live bool) *probe.Watch {
	if p := m.in.Config.Cutover.Probe; !now.runs || !live || (p != nil && !*p) {
		return nil
	}
	in := m.in
	if !now.table.IsSecure(traffic.ClaimOf(in.Config, m.w.Target.Role.Name).Owner) { // Users come by plain HTTP so far.
		cfg := *in.Config
		cfg.Proxy.TLS = config.TLS{}
		in.Config = &cfg
	}
	client := proxy.Client(m.w.Host, in.Config.Proxy, now.front, in.Config.EffectiveHealthcheck(m.w.Target.Role).Timeout.D())
	return probe.StartWatch(ctx, client, m.samples[0].Request(in, m.w, now.front))
}

// plain exchanges containers of a role without traffic: the old ones stop, and
// one that had to wait for that starts.
func (m *move) plain(ctx context.Context) error {
	if err := m.able(ctx); err != nil {
		return err
	}
	waiting := m.waiting()
	if len(waiting) > 0 {
		if err := m.open(ctx); err != nil {
			return err
		}
	}
	if err := m.record(ctx); err != nil {
		return err
	}
	if len(m.old) > 0 {
		if err := m.stop(ctx); err != nil {
			return err
		}
	}
	if err := stages.AtOnce(waiting, func(c engine.Container) error { return m.start(ctx, c) }); err != nil {
		for i := range waiting {
			waiting[i].State = "running" // Or it was, until a moment ago.
		}
		return m.restart(ctx, waiting, err)
	}
	for _, c := range waiting {
		m.w.Made(starting(c))
		m.started = append(m.started, c.ID)
	}
	m.out.Done = true
	return nil
}

// open refuses to start what waited for a barrier that has closed since: the
// release was aborted.
func (m *move) open(ctx context.Context) error { return notClosed(ctx, m.in, m.kept) }

// start lets a container run that waited for the barrier, and sees it ready.
func (m *move) start(ctx context.Context, c engine.Container) error {
	if err := stages.StartAgain(ctx, m.w, m.book, c); err != nil {
		return fmt.Errorf("new container %s: %w", c.Name, err)
	}
	limit := m.in.Config.Barrier.Timeout.D()
	waiting, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "not ready within %s", limit))
	defer cancel()
	check := stages.Ready(m.in, m.w, c.ID)
	check.Proven = m.proven
	_, err := check.Wait(waiting)
	if err != nil {
		return fmt.Errorf("wait for %s: %w", c.Name, err)
	}
	return nil
}

// restart brings the old containers back when not all of the new ones can run.
// Of those, what worked before works on.
func (m *move) restart(ctx context.Context, started []engine.Container, cause error) error {
	if len(m.old) == 0 && len(started) == len(m.fresh) {
		return cause
	}
	ctx = context.WithoutCancel(ctx)
	errs := []error{stages.StopAndKeep(ctx, m.w, started, engine.Stop{})}
	for _, c := range m.old {
		errs = append(errs, stages.StartAgain(ctx, m.w, m.book, c))
		m.w.Did("started %s again", short.Of(c.ID))
	}
	m.out.Stopped = nil
	if err := errors.Join(errs...); err != nil {
		return errors.Join(cause, fmt.Errorf("start the old container again: %w", err))
	}
	if len(m.old) == 0 {
		return exit.With(exit.RolledBack, fmt.Errorf("the others work on: %w", cause))
	}
	return exit.With(exit.RolledBack, fmt.Errorf("old container runs again: %w", cause))
}
