package stages

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// continues reports whether a pipeline that begins now for a version goes on with
// the release whose first state file is own: a run of it may have been killed,
// or is repeated. It begins a new release where the folder or the hosts have had
// a newer one since, and where the release goes the other way: a deploy is not
// the rest of a rollback, even to the same version.
func (s *Session) continues(own *state.File, version string) bool {
	if own == nil || own.Version != version || s.Options.NewRelease || own.Release < s.hostsNewest {
		return false
	}
	if newest := s.Dir.Newest(s.expected()); newest != nil && newest.Release > own.Release {
		return false
	}
	if s.Options.Again && s.isOver(own.Release) {
		return false
	}
	pushed, known := s.pushed(own.Release)
	return !known || pushed.GoesBack == s.Options.GoesBack
}

// newRelease is the id of a release that comes after all that are known here.
func (s *Session) newRelease(ctx context.Context) string {
	return state.NewRelease(time.Now(), s.present(ctx, append(s.Dir.Releases(), s.hostsNewest))...)
}

// pushed is what push recorded of a release in the folder.
func (s *Session) pushed(release string) (out state.PushOutputs, known bool) {
	f := s.own("push", release)
	out, err := state.OwnOutputs[state.PushOutputs](f)
	return out, err == nil && f != nil && len(f.Outputs) > 0
}

// own is a stage's file of a release in the folder; nil if it is not there, or
// is no file to go by.
func (s *Session) own(stage, release string) *state.File {
	expect := s.expected()
	expect.Release = release
	f, err := s.Dir.Own(stage, "", expect)
	if err != nil {
		return nil
	}
	return f
}

// OnHosts is what a stage of the release that touches hosts has left in the
// folder; nil if none has.
func (s *Session) OnHosts(release string) *state.File {
	for _, stage := range s.Pipeline {
		if f := s.own(stage.Info().Name, release); f != nil && stage.Info().Hosts {
			return f
		}
	}
	return s.own("abort", release)
}

// isOver reports whether a release in the folder came to its end, or was given up.
// One that still has the lease did not: its process was killed after the last stage.
func (s *Session) isOver(release string) bool {
	done := func(stage string) bool {
		f := s.own(stage, release)
		return f != nil && f.Status.Done()
	}
	return done("abort") || done(LastStage) && s.underway.Release != release
}

// Unfinished is the rollback that is under way in the state folder, as push
// recorded it: its process was killed, or it failed on the way.
func (s *Session) Unfinished(ctx context.Context) (version string, out state.PushOutputs, found bool) {
	if err := s.lookAhead(ctx); err != nil {
		return "", out, false // Taking the lease reports it.
	}
	s.takeUp(ctx)
	newest := s.Dir.Newest(s.expected())
	if newest == nil || newest.Release < s.hostsNewest || s.isOver(newest.Release) {
		return "", out, false
	}
	out, known := s.pushed(newest.Release)
	return newest.Version, out, known && out.GoesBack
}

// takeUp brings the state of a release that is this CI run's, or this person's,
// into the folder, where that knows only older ones: its process was killed, and
// this one runs elsewhere. What is not on the hosts is not missed: the release
// begins again from the start.
func (s *Session) takeUp(ctx context.Context) {
	if newest := s.Dir.Newest(s.expected()); s.taken || !s.oursUnderway() || newest != nil && newest.Release >= s.underway.Release {
		return
	}
	s.taken = true
	from, err := s.Mirror(ctx)
	if err != nil {
		return
	}
	expect := s.expected()
	expect.Release = s.underway.Release
	if _, err := from.Fetch(ctx, s.Dir, expect); err != nil {
		s.base().Warn("the state of release %s, which is under way, was not taken from the hosts: %s", expect.Release, err)
	}
}

// beganElsewhere reports whether a pipeline that begins now for a version is the
// rest of the one that has the lease, of which the folder knows nothing: it was
// killed before it left any state on the hosts.
func (s *Session) beganElsewhere(version string) bool {
	if !s.KeepLease || !s.oursUnderway() || s.underway.Version != version {
		return false
	}
	_, known := s.pushed(s.underway.Release)
	return !known
}

// oursUnderway reports whether the release that has the lease is this CI run's, or
// this person's, and may go on.
func (s *Session) oursUnderway() bool {
	h := s.underway
	return h.Release != "" && h.Release >= s.hostsNewest && s.Owns(h) && !s.Options.NewRelease
}

// Owns reports whether a pipeline's lease is of the same CI run or, outside of
// CI, of the same person.
func (s *Session) Owns(h lease.Holder) bool {
	switch {
	case h.Released || h.Ended || h.Message != "":
		return false
	case s.Actor.Run != "" || h.Run != "":
		return s.Actor.Run == h.Run
	default:
		return s.By == h.By && s.Actor.RunURL == h.RunURL
	}
}

// lookAhead finds out what the lease's host knows of releases, once: the newest in
// its ledger, and the one that is under way.
func (s *Session) lookAhead(ctx context.Context) error {
	if s.asked {
		return nil
	}
	if err := s.Connect(ctx); err != nil {
		return err
	}
	s.surveyEarly(ctx)
	h, names, err := s.on(ctx, plan.LeaseHost(plan.Targets(s.Config)))
	if err != nil {
		return err
	}
	var holder lease.Lease
	var inUse bool
	var wg sync.WaitGroup
	wg.Go(func() { // Taking the lease reports a holder that cannot be read.
		began := time.Now()
		var err error
		holder, inUse, err = lease.Store{Host: h.Name(), Files: h.Files(), Dir: names.Lease()}.Peek(ctx)
		if err == nil && !inUse {
			s.unused = began
		}
	})
	book, err := ledger.Read(ctx, h.Files(), names.Ledger())
	wg.Wait()
	s.hostsNewest, s.asked = book.Newest(), err == nil
	if inUse {
		s.underway = holder.Holder
	}
	return err
}

// justNow is how long a look at the lease counts for a release that does not
// hold it yet. A release that takes it looks again.
const justNow = 2 * time.Second

// unheld refuses to begin where another release holds the lease: a build that
// takes long should not end there, and what is refused leaves no state. Who
// queues is let through: the stage that needs the lease waits for it.
func (r *run) unheld(ctx context.Context) error {
	if r.LeaseWait() > 0 || time.Since(r.unused) < justNow {
		return nil
	}
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return err
	}
	return store.Unheld(ctx, r.Release)
}

// goOnWith makes a first stage that of a release which the user named: it has to
// have begun it.
func (r *run) goOnWith(release string, expect state.Expect) error {
	own, err := r.Dir.Own(r.info.Name, r.part(), expect)
	if err != nil {
		return err
	}
	if own == nil {
		return exit.With(exit.BadState, fmt.Errorf("%s has no %s of release %s", r.Dir.Path(), r.info.Name, release),
			"a release begins without --release (KSTEP_RELEASE), and goes on with it")
	}
	r.Release, r.Version, r.Source = own.Release, own.Version, own.Source
	return nil
}

// sameCommit refuses to take the state of another commit's release from the
// hosts: a newer pipeline may have left it there, and this job has another
// configuration.
func (r *run) sameCommit(ctx context.Context, upstream state.Set, reads []string) error {
	if r.StateFrom != FromHosts || !r.info.Hosts || len(reads) == 0 || r.Named != "" || r.Release != "" || r.Commit == nil {
		return nil
	}
	f := upstream.File(reads[0])
	here := r.Commit(ctx)
	if f.Source.Commit == "" || here == "" || f.Source.Commit == here {
		return nil
	}
	return exit.With(exit.BadState, fmt.Errorf("the newest release on the hosts, %s, is of commit %s, and this checkout is at %s",
		f.Release, short.Of(f.Source.Commit), short.Of(here)),
		"name the release of this pipeline: --release, or KSTEP_RELEASE (the output `release` of the job that pushed)",
		"kstep "+r.info.Name+" --state-from hosts --release "+f.Release+" goes on with that one")
}
