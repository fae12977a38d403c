package stages

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// maxAhead is how far a release's id may be ahead of the lease host's clock:
// machines that synchronise their clocks differ by less than a second, others by
// minutes.
const maxAhead = 10 * time.Minute

// leaseClock is the time on the lease host, as far as this session has read it.
func (s *Session) leaseClock(ctx context.Context) (now time.Time, known bool) {
	h, err := s.Hosts.Get(ctx, plan.LeaseHost(plan.Targets(s.Config)))
	if err != nil {
		return time.Time{}, false
	}
	return h.Engine().Clock()
}

// notAhead refuses a release whose id was made in the future of the lease host's
// clock. As ids are ordered by time, each later release would be the older one.
// An abort of such a release goes on, and takes it out of the ledgers.
func (r *run) notAhead(ctx context.Context) error {
	made := state.ReleaseTime(r.Release)
	if r.outside || made.IsZero() {
		return nil
	}
	now, known := r.leaseClock(ctx)
	if !known {
		if time.Until(made) <= maxAhead { // The release's first stage on hosts has read their clock.
			return nil
		}
		h, _, err := r.on(ctx, plan.LeaseHost(plan.Targets(r.Config)))
		if err != nil {
			return err
		}
		if _, err := h.Engine().Info(ctx); err != nil {
			return err
		}
		if now, known = h.Engine().Clock(); !known {
			now = time.Now() // An engine that reports no time.
		}
	}
	if made.Sub(now) <= maxAhead {
		return nil
	}
	if r.info.Ends {
		r.in.FromFuture = true
		return nil
	}
	return exit.With(exit.BadState,
		fmt.Errorf("release %s was made in the future: at %s, and %s has %s", r.Release,
			made.Format(time.RFC3339), plan.LeaseHost(plan.Targets(r.Config)), now.UTC().Format(time.RFC3339)),
		"correct the clock that is wrong: of the machine that began the release, or of the host; this machine has "+time.Now().UTC().Format(time.RFC3339),
		"then remove the release with kstep abort --release "+r.Release+", and begin a new one")
}

// present are the ids that were not made in the future, as far as the lease
// host's clock is known. A new release must not come after the others.
func (s *Session) present(ctx context.Context, ids []string) []string {
	if !s.asked {
		return ids
	}
	now, known := s.leaseClock(ctx)
	if !known {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return state.ReleaseTime(id).Sub(now) > maxAhead })
}

// forgetFuture removes what the state folder and the mirror have of a release
// from the future, which would stay the newest one there.
func (r *run) forgetFuture(ctx context.Context) error {
	if err := r.Dir.Forget(r.Release); err != nil {
		return err
	}
	to, err := r.Mirror(ctx)
	if err != nil {
		return err
	}
	_, err = to.Keep(ctx, func(release string) bool { return release != r.Release })
	return err
}
