package stages

import (
	"context"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// FindOrphans observes the orphans on the hosts of the targets, in the order of
// the hosts.
func FindOrphans(ctx context.Context, in Input) ([]Orphan, error) {
	_, found, err := EachHost(ctx, in, in.Targets, func(ctx context.Context, w *Work) ([]Orphan, error) {
		return w.Orphans(ctx, in)
	})
	var all []Orphan
	for _, host := range plan.HostNames(in.Targets) {
		all = append(all, found[host]...)
	}
	return all, err
}

// Orphans observes the orphans on the work's host.
func (w *Work) Orphans(ctx context.Context, in Input) ([]Orphan, error) {
	containers, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: RoleLabels(in.Config, ""), All: true})
	if err != nil {
		return nil, err
	}
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return nil, err
	}
	return Orphans(ctx, in, w, containers, book)
}

// StopOrphans removes the routes of orphans, lets their containers finish, and
// stops them. The containers stay for a rollback.
func (w *Work) StopOrphans(ctx context.Context, in Input, orphans []Orphan) error {
	if len(orphans) == 0 {
		return nil
	}
	if err := w.removeRoutes(ctx, in, orphans); err != nil {
		return err
	}
	var running []engine.Container
	proxied := false
	for _, o := range orphans {
		if err := o.CutCords(ctx, w); err != nil {
			return err
		}
		running = append(running, o.Running()...)
		proxied = proxied || o.Proxied
	}
	if proxied && len(running) > 0 {
		front, _, err := Proxy(ctx, w)
		if err != nil {
			return err
		}
		if _, err := Drain(ctx, in, w, front, running); err != nil {
			return err
		}
	}
	if err := StopAndKeep(ctx, w, running, engine.Stop{}); err != nil {
		return fmt.Errorf("old container %w", err)
	}
	for _, c := range running {
		w.Made(To(Stop, "%s", c.Name))
	}
	return nil
}

func (w *Work) removeRoutes(ctx context.Context, in Input, orphans []Orphan) error {
	if !slices.ContainsFunc(orphans, func(o Orphan) bool { return o.Routed }) {
		return nil
	}
	front, runs, err := Proxy(ctx, w)
	if err != nil {
		return err
	}
	limit := in.Config.Cutover.Timeout.D()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	for _, o := range orphans {
		if !o.Routed {
			continue
		}
		if err := o.Route(in, w, Word(w, front, runs)).RemoveRoute(ctx); err != nil {
			return err
		}
		w.Made(RemoveOrphanRoute(o.Role))
	}
	return nil
}
