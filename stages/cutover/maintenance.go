package cutover

import (
	"context"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// onceMaintenance returns a function that finds out, once for all hosts, whether the
// service is in maintenance on one of them. Only hosts without a route of the service
// need it. A host that cannot be read fails in its own move.
func onceMaintenance(in stages.Input) func(context.Context) *traffic.Maintenance {
	var once sync.Once
	var found *traffic.Maintenance
	return func(ctx context.Context) *traffic.Maintenance {
		once.Do(func() {
			in.Report = report.Multi{}
			targets := slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool { return !t.Proxied })
			_, all, _ := stages.Each(ctx, in, targets, func(ctx context.Context, w *stages.Work) (*traffic.Maintenance, error) {
				table, err := traffic.ReadTable(ctx, w.Host, w.Names.RouteDir())
				if err != nil {
					return nil, err
				}
				m, _ := table.Closed(traffic.ClaimOf(in.Config, w.Target.Role.Name).Owner)
				return m, nil
			})
			for _, t := range targets {
				if m := all[t.Key()]; m != nil {
					found = m
				}
			}
		})
		return found
	}
}

// closed has the first route of the service on a host begin in maintenance, if the service
// is in maintenance on other hosts: a host that joins must not show the application.
func (m *move) closed(ctx context.Context, table *traffic.Table) {
	if owner := traffic.ClaimOf(m.in.Config, m.w.Target.Role.Name).Owner; len(table.Owners(owner)) == 0 {
		table.Assume(m.maintenance(ctx))
	}
}
