package stages

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// Follow makes the session carry out a plan: its release, of its version. The
// first stage that touches hosts compares them with what the plan saw, and
// refuses to go on when another release has been there.
func (s *Session) Follow(p *state.Plan, version string) error {
	err := p.Belongs(state.Plan{
		Service: s.Config.Service, Destination: s.Config.Destination, Config: s.Config.Digest(),
		Version: version, Image: s.Options.Image,
	})
	if err != nil {
		return err
	}
	s.planned, s.pinned = p, p
	s.Release, s.Version, s.Source = p.Release, p.Version, p.Source
	return nil
}

// isPlanned refuses the image of another digest than that of the plan which the
// session carries out, as push recorded it.
func (r *run) isPlanned(push *state.File) error {
	out, err := state.OwnOutputs[state.PushOutputs](push)
	if r.pinned == nil || push == nil || err != nil {
		return nil //nolint:nilerr // Who reads the outputs tells.
	}
	return r.pinned.IsOf(out.Digest)
}

// Unmoved compares the hosts with the plan that the session carries out, if
// there is one. A chain calls it before its first stage, which may take long
// and touch no host. The first stage that does compares again, in the lease.
func (s *Session) Unmoved(ctx context.Context) error {
	if s.planned == nil {
		return nil
	}
	targets, err := plan.Filter(plan.Targets(s.Config), s.Roles, s.HostGlobs)
	if err != nil {
		return err
	}
	r := &run{Session: s, info: Info{Hosts: true}, in: Input{
		Config: s.Config, Release: s.Release, Version: s.Version, Targets: targets, All: plan.Targets(s.Config),
		Hosts: s.Hosts, Report: s.Report, survey: s.looks(),
	}}
	if err := s.Connect(ctx); err != nil {
		return err
	}
	return r.unmoved(ctx)
}

// unmoved refuses to go on when a host is not as the plan saw it, and not as
// the plan's own changes make it either.
func (r *run) unmoved(ctx context.Context) error {
	_, _, err := Each(ctx, r.in, r.in.Targets, func(ctx context.Context, w *Work) (struct{}, error) {
		saw, covered := r.planned.Facts(w.Target.Host, w.Target.Role.Name)
		if !covered {
			return struct{}{}, exit.With(exit.BadState, fmt.Errorf("the plan does not cover %s", w.Target.Key()),
				"plan again with the same --roles and --hosts")
		}
		now, err := observed(ctx, r.in, w)
		if err != nil {
			return struct{}{}, err
		}
		if moves := moved(saw, now); len(moves) > 0 {
			return struct{}{}, exit.With(exit.BadState, fmt.Errorf("%s has changed since the plan was created: %s", w.Target.Host, firstFew(moves)),
				"nothing was changed; look at it with kstep status, and plan again: kstep plan --out FILE")
		}
		return struct{}{}, nil
	})
	return err
}

// moved returns the facts that are neither as the plan saw them nor as it makes
// them, or that became so too early: another release made them.
func moved(saw map[string]state.Fact, now map[string]string) []string {
	facts := maps.Clone(now)
	for fact := range saw {
		if _, ok := facts[fact]; !ok {
			facts[fact] = ""
		}
	}
	delete(facts, ownFact)
	done := reachedStep(saw, now)
	var moves []string
	for _, fact := range slices.SortedFunc(maps.Keys(facts), weightier) {
		is, was := facts[fact], saw[fact]
		if at, ok := was.Turn(is); ok && (at <= done || !ordered(fact, was)) {
			continue
		}
		moves = append(moves, move(fact, was.Seen, is))
		if fact == ledgerFact {
			break // A release explains all the rest.
		}
	}
	return moves
}

// weightier sorts what explains most first.
func weightier(a, b string) int {
	rank := func(fact string) int { // From behind, so that others come last.
		return -slices.Index([]string{envFact, trafficFact, ledgerFact}, fact)
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
}

// move is one move in words.
func move(fact, was, is string) string {
	switch {
	case fact == ledgerFact && is != "none":
		return "release " + is + " has been there"
	case fact == trafficFact:
		return "traffic goes to " + is + ", went to " + was
	case fact == envFact:
		return "it has another env file"
	case was == "":
		return fact + " has come: " + is
	case is == "":
		return fact + " is gone: " + was
	}
	return fmt.Sprintf("%s is %s, was %s", fact, is, was)
}

// reachedStep is how far the release can have come at a target, which makes its
// changes in their order: not beyond the first one that is still to be seen.
func reachedStep(saw map[string]state.Fact, now map[string]string) int {
	limit := math.MaxInt
	for fact, was := range saw {
		at, ok := was.Turn(now[fact])
		if next := was.Next(at); ok && next > 0 && ordered(fact, was) {
			limit = min(limit, next)
		}
	}
	return limit
}

// ordered reports whether the fact shows how far a release has come at a
// target. The ledger is the whole host's. What was not in use may be taken away
// at any time, and what could not be foreseen shows nothing.
func ordered(fact string, f state.Fact) bool {
	if fact == ledgerFact || len(f.Becomes) == 0 {
		return false
	}
	first := f.Becomes[0].Value
	return first != "" && first != state.Anything
}

// firstFew joins the first few; more would not help.
func firstFew(moves []string) string {
	const enough = 2
	if more := len(moves) - enough; more > 0 {
		moves = append(slices.Clone(moves[:enough]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(moves, "; ")
}
