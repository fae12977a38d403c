package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
)

// Maintain puts the service into maintenance on the hosts of the targets with traffic, or
// ends it where want is nil. Run again, it goes on with the hosts that are left.
func Maintain(ctx context.Context, in Input, want *traffic.Maintenance) ([]state.Target, error) {
	proxied := slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool { return !t.Proxied })
	if len(proxied) == 0 {
		return nil, exit.With(exit.Usage, errors.New("none of the roles has traffic"), "maintenance is for roles with traffic: change --roles or --hosts")
	}
	records, routed, err := EachHost(ctx, in, proxied, func(ctx context.Context, w *Work) (bool, error) {
		return w.maintain(ctx, in, want)
	})
	for _, is := range routed {
		if is || err != nil || want == nil {
			return records, err
		}
	}
	return records, exit.With(exit.Failed, errors.New("the service has no route on any host, so no visitor gets it"), "kstep deploy, and then kstep app maintenance")
}

// maintain reports whether the service has a route on the work's host.
func (w *Work) maintain(ctx context.Context, in Input, want *traffic.Maintenance) (routed bool, err error) {
	book, err := w.Guarded(ctx)
	if err != nil {
		return false, err
	}
	table, err := traffic.ReadTable(ctx, w.Host, w.Names.RouteDir())
	if err != nil {
		return false, err
	}
	front, runs, err := Proxy(ctx, w)
	if err != nil {
		return false, err
	}
	limit := in.Config.Cutover.Timeout.D()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, exit.Errorf(exit.Deadline, "the proxy did not confirm within %s", limit))
	defer cancel()
	owners := table.Owners(route.Owner{Service: in.Config.Service, Destination: in.Config.Destination})
	for _, owner := range owners {
		target, err := w.servedAs(ctx, in, owner.Role, book)
		if err != nil {
			return true, err
		}
		if target.Role.Name == "" { // The filters leave it out.
			continue
		}
		role := traffic.Role{
			Host: w.Host, Names: w.Names, Name: owner.Role, Config: in.Config,
			Health: in.Config.EffectiveHealthcheck(target.Role), Word: Word(w, front, runs),
		}
		if want != nil && role.Open() == "" {
			in.Warn("the maintenance of role %s on %s answers its health check (%s) with 503, too: a load balancer that requests this path takes the host out; let it request %s, or set another healthcheck.path and deploy",
				owner.Role, w.Target.Host, role.Health.Path, proxy.HealthPath)
		}
		changed, err := role.Maintain(ctx, want)
		if err != nil {
			return true, err
		}
		w.sayMaintenance(owner.Role, want, changed)
	}
	if !runs && len(owners) > 0 {
		in.Warn("the proxy on %s does not run: it has the route when it runs again", w.Target.Host)
	}
	if len(owners) == 0 {
		w.Say("the service has no route on %s", w.Target.Host)
	}
	return len(owners) > 0, nil
}

func (w *Work) sayMaintenance(role string, want *traffic.Maintenance, changed bool) {
	switch {
	case want == nil && changed:
		w.Did("ended the maintenance of %s", role)
	case want == nil:
		w.Say("no maintenance was on for %s", role)
	case changed:
		w.Made(To(Set, "maintenance of %s: %s", role, want))
	default:
		w.Say("maintenance of %s is on already: %s", role, want)
	}
}

// servedAs is a role that has a route on the work's host, with the path of its health check
// as its containers in service have it. Its role has no name if the filters leave it out.
func (w *Work) servedAs(ctx context.Context, in Input, role string, book ledger.Ledger) (plan.Target, error) {
	if w.IsLeft(in, role) {
		return w.Gone(ctx, in, role, book)
	}
	for _, t := range in.Targets {
		if t.Host == w.Target.Host && t.Role.Name == role {
			t.Role = AsServed(in.Config, t.Role, book.AsServed(role, book.Live(role)))
			return t, nil
		}
	}
	return plan.Target{}, nil
}

// Maintenance is that of the target's route on its host; nil for none.
func Maintenance(ctx context.Context, in Input, w *Work) (*traffic.Maintenance, error) {
	m, err := in.secured(w).Maintenance(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the route: %w", err)
	}
	return m, nil
}
