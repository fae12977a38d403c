package abort

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Release is the release to abort.
type Release struct{ ID, Version string }

// Find returns the release to abort, or none. The state folder names it. On a
// runner without state it is the one that holds the lease, if that is this CI
// run's or has expired, or else the newest that has containers at work.
func Find(ctx context.Context, s *stages.Session, in stages.Input, holder lease.Lease) (Release, error) {
	here := s.Dir.Newest(expect(s))
	h := holder.Holder
	pipeline := holder.Token > 0 && !h.Released && h.Message == ""
	if here != nil && s.StateFrom != stages.FromHosts {
		if before, ok := overwritten(s, here.Release, h, pipeline); ok {
			return before, nil
		}
		return Release{here.Release, here.Version}, nil
	}
	if pipeline && !holder.Free() && !s.Owns(h) {
		return Release{}, exit.With(exit.LeaseHeld,
			fmt.Errorf("no state file names the release to abort, and the lease is held by %s; it expires in %s", h, holder.Left.Round(1e9)),
			"fetch the state files of the job that failed, or name the release: kstep abort --release "+h.Release)
	}
	if pipeline {
		return Release{h.Release, h.Version}, nil
	}
	found, err := unnoted(ctx, in)
	if err == nil && here != nil && here.Release > found.ID { // Aborted before: the hosts show only the older one.
		return Release{here.Release, here.Version}, nil
	}
	return found, err
}

// overwritten finds the release that was under way before the folder's newest one
// began there: that one has not been on the hosts, so what was left is of another.
// It has to be of this folder or this CI run, for another pipeline's may be at work.
func overwritten(s *stages.Session, newest string, h lease.Holder, pipeline bool) (Release, bool) {
	if s.OnHosts(newest) != nil {
		return Release{}, false
	}
	own := slices.DeleteFunc(s.Dir.Releases(), func(id string) bool { return id >= newest || s.OnHosts(id) == nil })
	if pipeline && h.Release != newest && (slices.Contains(own, h.Release) || h.Run != "" && h.Run == s.Actor.Run) {
		return Release{h.Release, h.Version}, true
	}
	if len(own) == 0 {
		return Release{}, false
	}
	last := s.OnHosts(slices.Max(own))
	return Release{last.Release, last.Version}, true
}

func expect(s *stages.Session) state.Expect {
	return state.Expect{Service: s.Config.Service, Destination: s.Config.Destination}
}

// unnoted is the newest release with a container at work, unless a newer one
// serves somewhere. Whether it is complete is for the stage to see.
func unnoted(ctx context.Context, in stages.Input) (Release, error) {
	var mu sync.Mutex
	var found Release
	noted := ""
	_, _, err := stages.Each(ctx, in, in.All, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		seen, err := stages.Observe(ctx, in, w)
		if err != nil {
			return struct{}{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		if r, ok := seen.Book.Serving(); ok {
			noted = max(noted, r.ID)
		}
		for _, c := range seen.Containers {
			if id := c.Labels[engine.LabelRelease]; c.Up() && id > found.ID {
				found = Release{id, c.Labels[engine.LabelVersion]}
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		return Release{}, err
	}
	if found.ID < noted {
		return Release{}, nil
	}
	return found, nil
}

// Trace reports whether a release has left anything on the hosts that answer.
func Trace(ctx context.Context, in stages.Input, upstream state.Set) (bool, error) {
	a := &abort{in: in, booted: booted(upstream)}
	a.find(ctx)
	_, ways, err := stages.Each(ctx, in, a.all, a.look)
	left := slices.ContainsFunc(a.all, func(t plan.Target) bool {
		way := ways[t.Key()]
		return way.Ours(in.Release, a.booted[t.Key()])
	})
	return left, err
}
