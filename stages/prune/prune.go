// Package prune is the stage that removes what is past retention: old
// containers, their images, asset folders and cords. Whatever a rollback to a
// retained release needs stays, with its tags (S15), and nothing of another
// service or destination is touched.
package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	hosts "github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `prune`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "prune",
		Summary: "remove containers, images and files past retention",
		Reads:   []string{"cutover"},
		Hosts:   true,
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	watch, err := newLast(in)
	if err != nil {
		return stages.Result{}, err
	}
	looked, found, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (now, error) {
		return watch.look(ctx, in, w)
	})
	if died := watch.died(found); died {
		// Nothing is removed: what went before may be needed to go back.
		return stages.Result{Targets: looked, Outputs: watch.outputs(found)}, exit.With(exit.Partial, err,
			"nothing was removed; kstep rollback goes back to the version before, kstep prune tries again")
	}
	records, results, pruneErr := stages.EachHost(ctx, in, reached(in.Targets, looked), func(ctx context.Context, w *stages.Work) (state.Pruned, error) {
		return host(ctx, in, w, found[w.Target.Host].seen)
	})
	for _, t := range looked {
		if !t.Status.Done() {
			records = append(records, t)
		}
	}
	return stages.Result{Targets: records, Outputs: state.PruneOutputs{Hosts: results}}, errors.Join(err, pruneErr)
}

func host(ctx context.Context, in stages.Input, w *stages.Work, seen seen) (state.Pruned, error) {
	var out state.Pruned
	todo := decide(in, seen)
	out.Kept, out.Previous = todo.kept, previous(seen.book, in.Version, todo.kept)
	keep := keepStopped(ctx, w, todo.stopped)
	look := func() ([]hosts.Below, error) { return halfWritten(ctx, w, watched(in, w)) }
	if len(todo.folders)+len(todo.containers) == 0 { // Else what is removed is looked at in vain.
		look = beside(look)
	}
	err := containers(ctx, w, todo, &out)
	if err == nil {
		err = errors.Join(
			images(ctx, in, w, todo, &out),
			folders(ctx, w, todo.folders, &out),
			sweep(ctx, w, look),
		)
	}
	if err = errors.Join(err, keep.end(w)); err != nil {
		return out, err
	}
	return out, mirrored(ctx, in, w, todo)
}

// beside begins to look, and returns what waits for the answer.
func beside(look func() ([]hosts.Below, error)) func() ([]hosts.Below, error) {
	var found []hosts.Below
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		found, err = look()
	}()
	return func() ([]hosts.Below, error) {
		<-done
		return found, err
	}
}

func containers(ctx context.Context, w *stages.Work, todo todo, out *state.Pruned) error {
	for _, c := range todo.containers {
		if err := w.Host.Engine().Remove(ctx, c.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return err
		}
		out.Containers = append(out.Containers, c.Name)
		w.Made(removing("container", c.Name))
	}
	return nil
}

// keeping is KeepStopped beside other work.
type keeping struct {
	wait sync.WaitGroup
	kept []engine.Container
	err  error
}

// keepStopped makes sure that what is kept for a rollback stays stopped: a run
// may have been killed over it, a person may have stopped it, or a version of
// kstep that left the restart policies alone.
func keepStopped(ctx context.Context, w *stages.Work, all []engine.Container) *keeping {
	k := &keeping{}
	k.wait.Go(func() { k.kept, k.err = stages.KeepStopped(ctx, w, all) })
	return k
}

// end waits for it and notes what was done.
func (k *keeping) end(w *stages.Work) error {
	k.wait.Wait()
	for _, c := range k.kept {
		w.Made(stages.NoRestart(c))
	}
	return k.err
}

// previous is the version that served before, if something is kept of it.
func previous(book ledger.Ledger, version string, kept []string) string {
	for _, v := range book.Versions("") {
		if v.Name != version && !v.RolledBack && slices.Contains(kept, v.Name) {
			return v.Name
		}
	}
	return ""
}

func versions(containers []engine.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Labels[engine.LabelVersion])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// images removes the tags of releases that are not kept.
func images(ctx context.Context, in stages.Input, w *stages.Work, todo todo, out *state.Pruned) error {
	removed, err := w.RemoveImages(ctx, todo.images)
	out.Images = append(out.Images, removed...)
	if err != nil {
		return err
	}
	if len(todo.gone) > 0 {
		err := w.Note(ctx, func(l *ledger.Ledger) bool {
			forgotten := l.ForgetRestart(engine.IDs(todo.containers))
			return forget(l, todo.gone) || forgotten
		})
		if err != nil {
			return err
		}
	}
	removedIDs, err := dangling(ctx, in, w)
	for _, id := range removedIDs {
		out.Images = append(out.Images, id)
		w.Made(removing("dangling image", id))
	}
	return err
}

// An engine prunes images once at a time: while another deploy or a cron job
// does, it refuses. That takes seconds at most, unless it has much to remove.
const (
	pruneTries = 10
	prunePause = 200 * time.Millisecond
)

// dangling removes the service's images that have no name any more. They are only
// room on the disk: if the engine goes on with another prune, they stay for the
// next one.
func dangling(ctx context.Context, in stages.Input, w *stages.Work) ([]string, error) {
	for try := 1; ; try++ {
		removed, err := w.Host.Engine().PruneDangling(ctx, map[string]string{engine.LabelService: in.Config.Service})
		if !errors.Is(err, engine.ErrConflict) {
			return removed, err
		}
		if try == pruneTries {
			in.Report.Emit(report.Event{Kind: report.Notice, Host: w.Target.Host, Message: fmt.Sprintf(
				"images without a name stay on %s until the next prune: its engine is busy with another one", w.Target.Host)})
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(prunePause):
		}
	}
}

// forget takes releases out of the ledger, and reports whether any was in it.
func forget(l *ledger.Ledger, gone []ledger.Release) bool {
	before := len(l.Releases)
	l.Releases = slices.DeleteFunc(slices.Clone(l.Releases), func(r ledger.Release) bool {
		return slices.ContainsFunc(gone, func(g ledger.Release) bool { return g.ID == r.ID })
	})
	return len(l.Releases) < before
}

// folders removes asset folders and cords that no container of ours mounts.
func folders(ctx context.Context, w *stages.Work, unused []string, out *state.Pruned) error {
	for _, folder := range unused {
		if err := w.Host.Files().RemoveTree(ctx, hosts.Inside(w.Names.Folder(), folder)); err != nil {
			return err
		}
		out.Folders = append(out.Folders, folder)
		w.Made(removing("", inRun(w, folder)))
	}
	return nil
}

// mirrored removes the copies of the state of releases that nothing is kept of.
func mirrored(ctx context.Context, in stages.Input, w *stages.Work, todo todo) error {
	if w.Target.Host != plan.LeaseHost(in.All) || len(w.Changes()) == 0 {
		return nil // With the rest of a release goes its state.
	}
	gone, err := w.KeepMirrored(ctx, todo.releases...)
	for _, release := range gone {
		w.Made(removing("the copy of the state of release", release))
	}
	return err
}
