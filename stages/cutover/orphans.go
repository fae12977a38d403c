package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// sight is what a host is like before the first target moves.
type sight struct {
	book    ledger.Ledger
	all     []engine.Container // Of the service.
	orphans []stages.Orphan
	known   []string // Hosts that have or had the service.
	// restarts is how often each of the new containers had restarted.
	restarts map[string]int
}

// see reads the ledger, refuses what must not go on, and finds the orphans. The
// containers are listed while the ledger is read.
// What has crashed is stopped only behind a barrier that has opened.
func see(ctx context.Context, in stages.Input, w *stages.Work, from inputs, barrier *verdict) (sight, error) {
	var all []engine.Container
	var listErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		all, listErr = w.Host.Engine().Containers(ctx, engine.Filter{Labels: stages.RoleLabels(in.Config, ""), All: true})
	})
	book, err := w.Guarded(ctx)
	wg.Wait()
	s := sight{book: book, all: all}
	if err = errors.Join(err, listErr); err != nil {
		return s, err
	}
	if s.orphans, err = stages.Orphans(ctx, in, w, all, book); err != nil {
		return s, err
	}
	if s.known, err = w.KnownHosts(ctx, in, book); err != nil || !barrier.isOpen(in.Release) {
		return s, err
	}
	if err := stated(in, w, from.boot, all); err != nil {
		return s, err
	}
	s.restarts, err = survived(ctx, in, w, from, stages.OldVersion(book))
	return s, err
}

// stated refuses containers of the host that boot's state names and that are not
// those of their targets and of the version, also where they wait for the barrier.
func stated(in stages.Input, w *stages.Work, boot state.BootOutputs, all []engine.Container) error {
	for _, t := range in.Targets {
		for _, id := range boot.Targets[t.Key()].IDs() {
			at := slices.IndexFunc(all, func(c engine.Container) bool { return c.ID == id })
			if at < 0 || t.Host != w.Target.Host {
				continue
			}
			if err := stages.IsStated(in, w.Names, t, all[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

// books are the ledgers of the hosts.
func books(hosts map[string]sight) []ledger.Ledger {
	var all []ledger.Ledger
	for _, s := range hosts {
		all = append(all, s.book)
	}
	return all
}

// containers are those of the target's role. With waves, and for roles that wait
// for the primary one, the first look may be long ago.
func (c *cutover) containers(ctx context.Context, w *stages.Work) ([]engine.Container, error) {
	labels := stages.RoleLabels(c.in.Config, w.Target.Role.Name)
	if c.in.Config.Cutover.Limit == "" && w.Target.Primary {
		return engine.With(c.hosts[w.Target.Host].all, labels), nil
	}
	return w.Host.Engine().Containers(ctx, engine.Filter{Labels: labels, All: true})
}

// share are the orphans that the target takes over from.
func share(in stages.Input, t plan.Target, orphans []stages.Orphan) []stages.Orphan {
	return slices.DeleteFunc(slices.Clone(orphans), func(o stages.Orphan) bool {
		successor, ok := plan.Successor(in.All, o.Host, o.Proxied)
		return !ok || successor.Key() != t.Key()
	})
}

// inherit adds the orphans to what the target replaces. With traffic, an orphan's
// route goes where the target's own route comes. An orphan with traffic on a
// host without any other such role stays until all targets have moved.
func (m *move) inherit(orphans []stages.Orphan) {
	for _, o := range orphans {
		switch {
		case o.Proxied && !m.w.Target.Proxied:
			m.later = append(m.later, o)
			continue
		case o.Routed:
			m.routes = append(m.routes, o)
		}
		if !stops(m.in) {
			o.Routed = false
			m.spared = append(m.spared, o)
			continue
		}
		m.orphans = append(m.orphans, o)
		m.old = append(m.old, o.Running()...)
	}
}

func stops(in stages.Input) bool { return in.Config.Orphans != "warn" }

// record writes into the ledger which roles the target takes over from, before
// it does: a later abort or rollback finds them there.
func (m *move) record(ctx context.Context) error {
	replaced := map[string]ledger.Replaced{}
	for _, o := range slices.Concat(m.orphans, m.routes) {
		replaced[o.Role] = ledger.Replaced{By: m.w.Target.Role.Name, Containers: engine.IDs(o.Running()), Proxied: o.Proxied, Spared: !stops(m.in)}
	}
	if len(replaced) == 0 {
		return nil
	}
	return m.w.Note(ctx, func(book *ledger.Ledger) bool { return book.Replace(m.release, replaced) })
}

// takeRoutes removes the routes of the orphans, after the proxy has the new one.
func (m *move) takeRoutes(ctx context.Context, word traffic.Word) error {
	for _, o := range m.routes {
		route := o.Route(m.in, m.w, word)
		data, err := route.RouteBytes(ctx)
		if err != nil {
			return err
		}
		if data == nil { // Another job of the release was faster.
			continue
		}
		if m.removed == nil {
			m.removed = map[string][]byte{}
		}
		m.removed[o.Role] = data
		if err := route.RemoveRoute(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restoreRoutes gives the orphans their routes back, and returns their
// containers.
func (m *move) restoreRoutes(ctx context.Context, word traffic.Word) (had []engine.Container, err error) {
	for _, o := range m.routes {
		data, ok := m.removed[o.Role]
		if !ok {
			continue
		}
		had = append(had, o.Running()...)
		err = errors.Join(err, o.Route(m.in, m.w, word).RestoreRoute(ctx, data))
	}
	return had, err
}

// tookRoutes says which routes are gone.
func (m *move) tookRoutes() {
	for _, o := range m.routes {
		if _, ok := m.removed[o.Role]; ok {
			m.w.Made(stages.RemoveOrphanRoute(o.Role))
		}
	}
}

// cutCords keeps the orphans' containers from being healthy when they start again.
func (m *move) cutCords(ctx context.Context) error {
	for _, o := range m.orphans {
		if err := o.CutCords(ctx, m.w); err != nil {
			return err
		}
	}
	return nil
}

// warn prints what is left running, and how to stop it.
func (m *move) warn() {
	for _, o := range m.spared {
		m.in.Warn("%s; %s", o.Describe(), stopWith(m.in))
	}
}

func stopWith(in stages.Input) string {
	return "stop it with: " + stages.Command(in.Config, "app stale-containers --stop")
}

// last retires the orphans with traffic on hosts where no other role has
// traffic: users may still be sent there until the traffic has moved elsewhere.
func (c *cutover) last(ctx context.Context, records []state.Target) ([]state.Target, error) {
	var targets []plan.Target
	for _, t := range c.in.Targets {
		if slices.ContainsFunc(share(c.in, t, c.hosts[t.Host].orphans), func(o stages.Orphan) bool { return o.Proxied && !t.Proxied }) {
			targets = append(targets, t)
		}
	}
	late, _, err := stages.Each(ctx, c.in, targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		m := &move{in: c.in, w: w, release: c.release, out: &state.CutoverTarget{}}
		m.inherit(share(c.in, w.Target, c.hosts[w.Target.Host].orphans))
		return struct{}{}, m.retireLater(ctx)
	})
	stages.AddLater(records, late)
	return records, err
}

// retireLater removes the routes of the orphans that had to wait, and stops
// their containers.
func (m *move) retireLater(ctx context.Context) error {
	if !stops(m.in) {
		m.spared = m.later
		m.warn()
		return nil
	}
	m.orphans = m.later
	if err := m.record(ctx); err != nil {
		return err
	}
	return m.w.StopOrphans(ctx, m.in, m.later)
}

// foreseeOrphans says what happens to the routes of the orphans; their
// containers are among the old ones.
func (m *move) foreseeOrphans() {
	for _, o := range m.routes {
		m.w.Intend(stages.RemoveOrphanRoute(o.Role))
	}
}

// foreseeSpared says what stays.
func (m *move) foreseeSpared() {
	for _, o := range m.spared {
		m.w.Wonder(fmt.Sprintf("%s; it stays (orphans: warn)", o.Describe()))
	}
}

// foreseeLater says what last does.
func (m *move) foreseeLater(ahead *stages.Outlook) {
	for _, o := range m.later {
		if !stops(m.in) {
			m.spared = append(m.spared, o)
			continue
		}
		if o.Routed {
			m.w.Intend(stages.RemoveOrphanRoute(o.Role))
		}
		for _, c := range o.Running() {
			m.w.Intend(stopping(c))
			ahead.Stop(m.w.Target.Host, c.ID)
		}
	}
}
