package abort

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// find adds to the targets of the configuration the roles that the release took
// over from, or brought back, on a host where they are not configured. A host
// whose roles are not known fails when it is looked at.
func (a *abort) find(ctx context.Context) {
	quiet := a.in
	quiet.Report = report.Multi{} // A host that fails here fails again below.
	records, found, _ := stages.EachHost(ctx, quiet, a.in.All, func(ctx context.Context, w *stages.Work) ([]plan.Target, error) {
		return a.gone(ctx, w)
	})
	a.all, a.unknown = slices.Clone(a.in.All), map[string]string{}
	for _, r := range records {
		if r.Error != nil {
			a.unknown[r.Host] = r.Error.Message
		}
	}
	for _, host := range plan.HostNames(a.in.All) {
		a.all = append(a.all, found[host]...)
	}
}

// gone are the roles of the release on a host that are not configured there.
func (a *abort) gone(ctx context.Context, w *stages.Work) ([]plan.Target, error) {
	containers, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: stages.RoleLabels(a.in.Config, ""), All: true})
	if err != nil {
		return nil, err
	}
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return nil, err
	}
	names := book.Roles()
	for _, c := range containers {
		names = append(names, c.Labels[engine.LabelRole])
	}
	slices.Sort(names)
	var all []plan.Target
	for _, role := range slices.Compact(names) {
		if !plan.IsRoleName(role) || plan.IsTarget(a.in.All, role, w.Target.Host) || !a.concerns(role, w.Target.Host, book, containers) {
			continue
		}
		t, err := w.Gone(ctx, a.in, role, book)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// concerns reports whether the release has changed anything of a role that is
// not configured on the host.
func (a *abort) concerns(role, host string, book ledger.Ledger, containers []engine.Container) bool {
	trace, _ := book.Find(a.in.Release)
	if _, replaced := trace.Replaced[role]; replaced || len(trace.Live[role]) > 0 {
		return true
	}
	for _, entry := range trace.Replaced {
		if entry.By == role {
			return true
		}
	}
	before, known := book.Before(a.in.Release, role)
	return slices.ContainsFunc(containers, func(c engine.Container) bool {
		ours := c.Labels[engine.LabelRelease] == a.in.Release || slices.Contains(a.booted[state.Key(role, host)], c.ID)
		over := known && len(before) == 0 && c.Up()
		return c.Labels[engine.LabelRole] == role && (over || ours && (c.Up() || c.State == "created"))
	})
}

// isOwn reports whether the target is one of this job's: a role that is not
// configured goes with the role that took over.
func (a *abort) isOwn(t plan.Target) bool {
	if !plan.IsTarget(a.in.All, t.Role.Name, t.Host) {
		t, _ = plan.Successor(a.in.All, t.Host, t.Proxied)
	}
	return plan.IsTarget(a.in.Targets, t.Role.Name, t.Host)
}

// steps puts the targets in the order of the way back. What must not overlap
// stops first. Then the old containers come back. New roles, which nothing served
// before, go last: on a host where a role has another name, the old one has the
// traffic again by then.
func steps(targets []plan.Target, ways map[string]Way) [][]plan.Target {
	all := make([][]plan.Target, 3)
	for _, t := range targets {
		at := 2
		switch {
		case len(ways[t.Key()].Keep) > 0:
			at = 1
		case !t.Proxied && t.Role.Start == "after-barrier":
			at = 0
		}
		all[at] = append(all[at], t)
	}
	return all
}

// undoAll goes the way back at all targets, step by step. Where an old role does
// not come back, the new one stays, or is started again.
func (a *abort) undoAll(ctx context.Context, targets []plan.Target, ways map[string]Way) (done []state.Target, results map[string]state.AbortTarget, err error) {
	results = map[string]state.AbortTarget{}
	failed := map[kindOnHost]string{} // The old roles that did not come back.
	for _, step := range steps(targets, ways) {
		records, some, stepErr := stages.Each(ctx, a.in, step, func(ctx context.Context, w *stages.Work) (state.AbortTarget, error) {
			way := ways[w.Target.Key()]
			if role := failed[kindOf(w.Target)]; role != "" && !way.Idle() {
				return state.AbortTarget{}, leftServing(role)
			}
			return a.undo(ctx, w, way)
		})
		for i, t := range step {
			if records[i].Error != nil && (t.Proxied || len(ways[t.Key()].Keep) > 0) {
				failed[kindOf(t)] = t.Role.Name
			}
		}
		done = append(done, records...)
		maps.Copy(results, some)
		err = errors.Join(err, stepErr)
	}
	return done, results, errors.Join(err, a.resume(ctx, targets, ways, failed, done, results))
}

// kindOnHost are the roles of a host that can replace each other: those with
// traffic, or those without.
type kindOnHost struct {
	host    string
	proxied bool
}

func kindOf(t plan.Target) kindOnHost { return kindOnHost{t.Host, t.Proxied} }

func leftServing(role string) error {
	return fmt.Errorf("is left serving: role %s could not be brought back", role)
}

// resume starts the containers of new roles again that had to stop first, where
// the old role did not come back.
func (a *abort) resume(ctx context.Context, targets []plan.Target, ways map[string]Way, failed map[kindOnHost]string, done []state.Target, results map[string]state.AbortTarget) error {
	again := slices.DeleteFunc(slices.Clone(targets), func(t plan.Target) bool {
		return t.Proxied || failed[kindOf(t)] == "" || len(ways[t.Key()].Keep) > 0 || len(results[t.Key()].Stopped) == 0
	})
	more, _, err := stages.Each(ctx, a.in, again, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		way := ways[w.Target.Key()]
		return struct{}{}, errors.Join(leftServing(failed[kindOf(w.Target)]), startDown(ctx, w, way))
	})
	stages.AddLater(done, more)
	for _, t := range again {
		results[t.Key()] = state.AbortTarget{}
	}
	return err
}
