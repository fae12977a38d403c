package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/linger"
	"github.com/kstep/kstep/internal/report"
)

// Between two looks at a hook that another job runs.
const hookLook = 500 * time.Millisecond

// marks are the files on the lease host by which jobs of a release agree who
// runs a hook that is run once for each release.
type marks struct {
	files   host.Files
	running host.Below // Made exclusively, by the job that runs it: its shard is in it.
	done    string
}

// once runs a hook once for the release, though several jobs come to it: one
// runs it, the others wait for it. One that failed is tried again by the next.
func (r *run) once(ctx context.Context, name string, details hook.Details) error {
	if found, err := r.Hooks.Find(name); r.Hooks.Skip || found == "" || err != nil {
		return err
	}
	m, err := r.marks(ctx, name)
	if err != nil {
		return err
	}
	mine, err := r.claim(ctx, m, name)
	if err != nil || !mine {
		return err
	}
	failed := r.hooks(ctx, details, name)
	ctx, cancel := linger.Context(ctx, releaseTime)
	defer cancel()
	if failed == nil {
		err = m.files.Write(ctx, m.done, nil, 0o644)
	}
	return errors.Join(failed, err, m.files.Remove(ctx, m.running))
}

func (r *run) marks(ctx context.Context, name string) (marks, error) {
	store, err := r.LeaseStore(ctx)
	if err != nil {
		return marks{}, err
	}
	all := path.Join(store.Dir, "hooks")
	releases, err := store.Files.List(ctx, all)
	if err != nil {
		return marks{}, err
	}
	for _, e := range releases {
		if e.Name < r.Release {
			if err := store.Files.RemoveTree(ctx, host.Under(all, e.Name)); err != nil {
				return marks{}, err
			}
		}
	}
	file := path.Join(all, r.Release, name)
	return marks{files: store.Files, running: host.Inside(store.Dir, file+".running"), done: file + ".done"}, nil
}

// claim reports whether this job is to run the hook. If another one does, it waits
// for that: until the hook has run, has failed, or must have been stopped long
// ago. What this job's own shard left behind when it was killed is its own.
func (r *run) claim(ctx context.Context, m marks, name string) (mine bool, err error) {
	patience := r.Config.HookTimeout.D() + time.Minute
	var since time.Time
	for {
		if _, err := m.files.Stat(ctx, m.done); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		err := m.files.Create(ctx, m.running.String(), []byte(r.shard()), 0o644)
		if err == nil {
			return r.still(ctx, m)
		}
		if !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		owner, err := m.files.Read(ctx, m.running.String())
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return false, err
		case string(owner) == r.shard():
			return true, nil
		case since.IsZero():
			since = time.Now()
			r.Report.Emit(report.Event{Time: since.UTC(), Kind: report.Notice, Stage: r.info.Name,
				Message: fmt.Sprintf("waiting: another job (%s) runs the hook %s", owner, name)})
		case time.Since(since) > patience:
			if err := m.files.Remove(ctx, m.running); err != nil {
				return false, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(hookLook):
		}
	}
}

// still reports whether the hook is still to be run: between the two looks of
// claim another job may have come to its end.
func (r *run) still(ctx context.Context, m marks) (bool, error) {
	_, err := m.files.Stat(ctx, m.done)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, errors.Join(err, m.files.Remove(ctx, m.running))
}
