package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// How long a command that failed observes who serves. A CI system gives an
// interrupted one some seconds until it kills it.
const (
	servingTime            = 5 * time.Second
	servingTimeInterrupted = 2 * time.Second
)

// sayWhoServes reports which version users get, when a command that works on a
// release and has touched its hosts ends with an error.
func sayWhoServes(ctx context.Context, s *stages.Session, err error) {
	if err == nil || exit.CodeOf(err) == exit.ChangesPending || s.Release == "" || !s.Connected() {
		return
	}
	in, filterErr := looking(s)
	if filterErr != nil {
		return
	}
	limit := servingTime
	if ctx.Err() != nil {
		limit = servingTimeInterrupted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	in.Report = report.Multi{} // The command's own error says what is wrong with a host.
	records, seen, _ := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (stages.Seen, error) {
		one, err := stages.Observe(ctx, in, w)
		if err == nil && w.Target.Proxied {
			maintenance, err := stages.Maintenance(ctx, in, w)
			one.Closed = maintenance != nil
			return one, err
		}
		return one, err
	})
	for _, r := range records {
		if r.Error != nil {
			delete(seen, state.Key(r.Role, r.Host))
		}
	}
	s.Report.Emit(report.Event{Time: time.Now().UTC(), Kind: report.Serving, Message: whoServes(in.Targets, seen)})
}

// whoServes is the sentence about who serves: `users get v1 on vm1, vm2; v2 on vm3`.
// It has nothing of roles without traffic, unless there are no others. A target that
// is not among those seen is unknown.
func whoServes(targets []plan.Target, seen map[string]stages.Seen) string {
	begin := "users get "
	front := proxied(targets)
	if len(front) == 0 {
		begin, front = "in service: ", targets
	}
	several := severalRoles(front)
	hosts := map[string][]string{} // By what they serve.
	var order []string
	for _, t := range front {
		what := "unknown"
		if one, ok := seen[t.Key()]; ok {
			what = served(one.Live(t.Role.Name, t.Proxied))
			if one.Closed {
				what = "503 (maintenance; " + what + " behind it)"
			}
		}
		if !slices.Contains(order, what) {
			order = append(order, what)
		}
		where := t.Host
		if several {
			where = t.Role.Name + " on " + t.Host
		}
		hosts[what] = append(hosts[what], where)
	}
	on := " on "
	if several {
		on = " from "
	}
	parts := make([]string, len(order))
	for i, what := range order {
		parts[i] = what + on + strings.Join(hosts[what], ", ")
	}
	return begin + strings.Join(parts, "; ")
}

func severalRoles(targets []plan.Target) bool {
	return slices.ContainsFunc(targets, func(t plan.Target) bool { return t.Role.Name != targets[0].Role.Name })
}

// served are the versions of containers in service.
func served(live []engine.Container) string {
	var up, down []string
	for _, c := range live {
		version := short.Of(c.Labels[engine.LabelVersion])
		if c.Up() {
			up = append(up, version)
		} else {
			down = append(down, version)
		}
	}
	switch {
	case len(up) > 0:
		slices.Sort(up)
		return strings.Join(slices.Compact(up), " and ")
	case len(down) > 0:
		slices.Sort(down)
		return fmt.Sprintf("no answer (%s does not run)", strings.Join(slices.Compact(down), " and "))
	}
	return "nothing"
}
