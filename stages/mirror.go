package stages

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/mirror"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// FromHosts is the Session.StateFrom that goes on with the state on the hosts.
const FromHosts = "hosts"

// Bounds for copying state to the lease host: some fifty round trips at most,
// which may be long ones. An interrupted stage has little time left, and a failed
// one may have failed because of that host.
const (
	mirrorTime = time.Minute
	parkedTime = time.Second
)

// afterwards is a context for what is left to write when a command is over. hurry
// is true if a host may be why it failed.
func afterwards(ctx context.Context, hurry bool) (context.Context, context.CancelFunc) {
	limit := mirrorTime
	if hurry || ctx.Err() != nil {
		limit = parkedTime
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// Mirror is the mirror of the service's state files, on the lease host.
func (s *Session) Mirror(ctx context.Context) (mirror.Store, error) {
	host, names, err := s.on(ctx, plan.LeaseHost(plan.Targets(s.Config)))
	if err != nil {
		return mirror.Store{}, err
	}
	return mirror.Store{Files: host.Files(), Dir: names.StateDir()}, nil
}

// mirror copies the stage's file to the lease host. It is a copy only: if it
// cannot be made, mirror warns, and the stage has done what it did. What push
// left gets there with the first stage that touches hosts, or at once where the
// next job will look for it there.
func (r *run) mirror(ctx context.Context, file *state.File) {
	if !r.info.Hosts && (r.info.Name != LastHostless || r.StateFrom != FromHosts) {
		return
	}
	ctx, cancel := afterwards(ctx, !file.Status.Done())
	defer cancel()
	to, err := r.Mirror(ctx)
	if err == nil {
		err = to.Put(ctx, r.Dir, file)
	}
	if err != nil {
		r.Report.Emit(report.Event{
			Time: time.Now().UTC(), Kind: report.Warning, Stage: r.info.Name,
			Message: fmt.Sprintf("no copy of the state is on the hosts, for --state-from hosts: %s", err),
		})
	}
}

// fetch brings the state files of the newest release from the hosts, once in a
// session: what the folder has already stays, unless the hosts know better. A
// stage that touches no host has nothing to look for there: what it reads never
// got to one.
func (r *run) fetch(ctx context.Context, expect state.Expect) error {
	if r.StateFrom != FromHosts || !r.info.Hosts || r.fetched {
		return nil
	}
	r.fetched = true
	if err := r.connect(ctx); err != nil {
		return err
	}
	found, err := r.takeState(ctx, r.info.Name, expect)
	if found || err != nil {
		return err
	}
	return r.rebuild(ctx)
}

// takeState copies the files of the expected release, or of the newest, from
// the hosts into the folder. found reports whether there is such a release, here
// or there.
func (s *Session) takeState(ctx context.Context, stage string, expect state.Expect) (found bool, err error) {
	from, err := s.Mirror(ctx)
	if err != nil {
		return false, err
	}
	if expect.Release == "" {
		if expect.Release, err = s.newest(ctx, from, expect); err != nil || expect.Release == "" {
			return false, err
		}
	}
	fetched, err := from.Fetch(ctx, s.Dir, expect)
	if err != nil {
		return false, err
	}
	if len(fetched) > 0 {
		s.Report.Emit(report.Event{
			Time: time.Now().UTC(), Kind: report.Notice, Stage: stage,
			Message: fmt.Sprintf("took the state of release %s of %s UTC from the hosts", expect.Release,
				state.ReleaseTime(expect.Release).Format("2006-01-02 15:04:05")),
		})
	}
	return true, nil
}

// newest is the newest release in the folder or on the hosts: a folder's newer
// one has not been on the hosts yet.
func (s *Session) newest(ctx context.Context, from mirror.Store, expect state.Expect) (string, error) {
	releases, err := from.Releases(ctx)
	if err != nil {
		return "", err
	}
	if here := s.Dir.Newest(expect); here != nil {
		releases = append(releases, here.Release)
	}
	if len(releases) == 0 {
		return "", nil
	}
	return slices.Max(releases), nil
}

// KeepMirrored removes the mirrored state of older releases that keep does not
// name, and returns what it removed.
func (w *Work) KeepMirrored(ctx context.Context, keep ...string) ([]string, error) {
	return w.mirrored().Keep(ctx, w.keeps(keep))
}

// Unmirrored is what KeepMirrored would remove.
func (w *Work) Unmirrored(ctx context.Context, keep ...string) ([]string, error) {
	all, err := w.mirrored().Releases(ctx)
	return slices.DeleteFunc(all, w.keeps(keep)), err
}

func (w *Work) mirrored() mirror.Store {
	return mirror.Store{Files: w.Host.Files(), Dir: w.Names.StateDir()}
}

func (w *Work) keeps(named []string) func(release string) bool {
	return func(release string) bool { return release >= w.in.Release || slices.Contains(named, release) }
}
