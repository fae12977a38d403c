package traffic

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/route"
)

// ClaimOf is what a role of the configuration claims on each of its hosts.
func ClaimOf(cfg *config.Config, role string) route.Claim {
	return route.New(route.Owner{Service: cfg.Service, Destination: cfg.Destination, Role: role},
		cfg.Proxy.Names(), cfg.Proxy.PathPrefix, cfg.Proxy.Fallback)
}

// Verdict is what becomes of a claim on a host.
type Verdict struct {
	// Conflicts are with claims of other owners; one for each of them.
	Conflicts []*route.Conflict
	// Warnings are about claims that may not be made anew but were there before,
	// and about routes that nothing is left of.
	Warnings []string
	// Priorities are those of the routers that need another one than usual.
	Priorities map[route.Kind]int
	// Kept reports that the owner has the same claim on the host already.
	Kept bool
}

// Err is the refusal of the claim, or nil.
func (v Verdict) Err() error {
	if len(v.Conflicts) == 0 {
		return nil
	}
	c := v.Conflicts[0]
	err := error(c)
	if more := len(v.Conflicts) - 1; more > 0 {
		err = fmt.Errorf("%w, and %d more owners have a part of it", c, more)
	}
	return exit.With(exit.Failed, err, c.Hints()...)
}

// Check holds a claim against the routes of the host.
func (t *Table) Check(ctx context.Context, mine route.Claim) (Verdict, error) {
	alive, dead, err := t.others(ctx, mine.Owner)
	if err != nil {
		return Verdict{}, err
	}
	own, has := t.own(mine.Owner)
	v := Verdict{Kept: has && own.claim.Equal(mine)}
	var limits limits
	for _, theirs := range alive {
		conflict := &route.Conflict{Host: t.host.Name(), Mine: mine, Theirs: theirs.claim}
		for _, o := range route.Compare(mine, theirs.claim) {
			limits.add(o, theirs, o.First)
			if !o.Conflict {
				continue
			}
			if !has || !o.Before(own.claim) {
				conflict.Overlaps = append(conflict.Overlaps, o)
				continue
			}
			v.warn("%s and %s both claim %s on %s: the more precise one gets it; set proxy.fallback: true for the other",
				mine.Owner, theirs.claim.Owner, o.Shared(), t.host.Name())
		}
		if len(conflict.Overlaps) > 0 {
			v.Conflicts = append(v.Conflicts, conflict)
		}
	}
	for _, left := range dead {
		overlaps := route.Compare(mine, left.claim)
		for _, o := range overlaps {
			limits.add(o, left, route.Mine)
		}
		if len(overlaps) > 0 && !left.claim.SameService(mine.Owner) {
			v.warn("the route %s on %s is left of a service that has no containers there; it is passed over", left.name, t.host.Name())
		}
	}
	return v, limits.fit(mine, t.host.Name(), &v)
}

func (v *Verdict) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(v.Warnings, text) {
		v.Warnings = append(v.Warnings, text)
	}
}

// limits are between what the priorities of a claim's routers must be.
type limits struct {
	low, high map[route.Kind]tableRoute
	at        map[route.Kind][2]int
}

// add takes one overlap into account: the route that gets the requests of both
// needs the higher priority.
func (l *limits) add(o route.Overlap, theirs tableRoute, first route.Order) {
	if l.at == nil {
		l.at = map[route.Kind][2]int{}
		l.low, l.high = map[route.Kind]tableRoute{}, map[route.Kind]tableRoute{}
	}
	kind := o.Mine.Kind()
	bounds, ok := l.at[kind]
	if !ok {
		bounds = [2]int{catchAllPriority, math.MaxInt32}
	}
	priority := theirs.priority(o.Theirs.Kind())
	switch {
	case first == route.Mine && priority > bounds[0]:
		bounds[0], l.low[kind] = priority, theirs
	case first == route.Theirs && priority < bounds[1]:
		bounds[1], l.high[kind] = priority, theirs
	}
	l.at[kind] = bounds
}

// catchAllPriority is that of the proxy's own router.
const catchAllPriority = 1

// fit chooses the priorities.
func (l *limits) fit(mine route.Claim, hostName string, v *Verdict) error {
	for _, rule := range mine.Rules() {
		bounds, ok := l.at[rule.Kind]
		if !ok {
			continue
		}
		priority, ok := route.Fit(rule.Priority, bounds[0], bounds[1])
		if !ok {
			return exit.With(exit.Failed, fmt.Errorf("%s: there is no priority on %s between the routes of %s and %s",
				mine.Owner, hostName, l.low[rule.Kind].claim.Owner, l.high[rule.Kind].claim.Owner),
				fmt.Sprintf("an older kstep wrote one of them: deploy %s with this one first", l.low[rule.Kind].claim.Owner))
		}
		if priority != rule.Priority {
			if v.Priorities == nil {
				v.Priorities = map[route.Kind]int{}
			}
			v.Priorities[rule.Kind] = priority
		}
	}
	return nil
}

// claim is what the role claims.
func (r Role) claim() route.Claim { return ClaimOf(r.Config, r.Name) }

// checked holds the role's claim against the host's routes, which it returns, and
// refuses one that is in conflict.
func (r Role) checked(ctx context.Context) (Verdict, *Table, error) {
	table := r.Table
	if table == nil {
		var err error
		if table, err = ReadTable(ctx, r.Host, r.Names.RouteDir()); err != nil {
			return Verdict{}, nil, err
		}
	}
	v, err := table.Check(ctx, r.claim())
	if err == nil {
		err = v.Err()
	}
	return v, table, err
}
