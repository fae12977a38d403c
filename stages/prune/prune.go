// Package prune is the stage that removes what is past retention: old
// containers, their images, asset folders and cords. Whatever a rollback to a
// retained release needs stays, with its tags (S15), and nothing of another
// service or destination is touched.
package prune

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `prune`.
type Stage struct{}

var _ stages.Stage = Stage{}

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
	records, results, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.Pruned, error) {
		return host(ctx, in, w)
	})
	return stages.Result{Targets: records, Outputs: state.PruneOutputs{Hosts: results}}, err
}

func host(ctx context.Context, in stages.Input, w *stages.Work) (state.Pruned, error) {
	var out state.Pruned
	book, err := w.Guarded(ctx)
	if err != nil {
		return out, err
	}
	containers, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: stages.RoleLabels(in.Config, ""), All: true})
	if err != nil {
		return out, err
	}
	kept, removed := retained(containers, in.Config.Retain)
	for _, c := range removed {
		if err := w.Host.Engine().Remove(ctx, c.ID); err != nil && !errors.Is(err, engine.ErrNotFound) {
			return out, err
		}
		out.Containers = append(out.Containers, c.Name)
		w.Did("removed container %s", c.Name)
	}
	out.Kept = versions(kept)
	errs := []error{
		images(ctx, in, w, book, out.Kept, &out),
		folders(ctx, w, kept, &out),
		sweep(ctx, in, w),
		mirrored(ctx, in, w, book, &out),
	}
	return out, errors.Join(errs...)
}

// retained splits the containers of one service and destination on one host.
// Of each role the newest versions stay, one container each, up to keep of
// them, and whatever runs; leftovers of failed or replaced ones go.
func retained(containers []engine.Container, keep int) (kept, removed []engine.Container) {
	byRole := map[string][]engine.Container{}
	for _, c := range containers {
		byRole[c.Labels[engine.LabelRole]] = append(byRole[c.Labels[engine.LabelRole]], c)
	}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		own := byRole[role]
		slices.SortFunc(own, newestFirst)
		seen := map[string]bool{}
		for _, c := range own {
			version := c.Labels[engine.LabelVersion]
			switch {
			case c.Running() || c.State == "restarting" || c.State == "paused":
				kept = append(kept, c)
				seen[version] = true
			case !seen[version] && len(seen) < keep:
				kept = append(kept, c)
				seen[version] = true
			default:
				removed = append(removed, c)
			}
		}
	}
	return kept, removed
}

// newestFirst puts running containers before others, so that the live version
// counts among those to keep, and then by creation.
func newestFirst(a, b engine.Container) int {
	if a.Running() != b.Running() {
		if a.Running() {
			return -1
		}
		return 1
	}
	return b.Created.Compare(a.Created)
}

func versions(containers []engine.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Labels[engine.LabelVersion])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// images removes the tags of releases that are not kept. Only tags in this
// destination's own ledger are candidates, and none that any container uses,
// so a release of another destination, even one that is just being deployed,
// is safe.
func images(ctx context.Context, in stages.Input, w *stages.Work, book ledger.Ledger, kept []string, out *state.Pruned) error {
	gone := slices.DeleteFunc(slices.Clone(book.Releases), func(r ledger.Release) bool {
		return slices.Contains(kept, r.Version) || r.ID == in.Release
	})
	if len(gone) > 0 {
		all, err := w.Host.Engine().Containers(ctx, engine.Filter{All: true})
		if err != nil {
			return err
		}
		for _, r := range gone {
			if err := forget(ctx, w, r, book, kept, all, out); err != nil {
				return err
			}
		}
		err = w.Note(ctx, func(l *ledger.Ledger) bool {
			before := len(l.Releases)
			l.Releases = slices.DeleteFunc(l.Releases, func(r ledger.Release) bool {
				return slices.ContainsFunc(gone, func(g ledger.Release) bool { return g.ID == r.ID })
			})
			return len(l.Releases) < before
		})
		if err != nil {
			return err
		}
	}
	dangling, err := w.Host.Engine().PruneDangling(ctx, map[string]string{engine.LabelService: in.Config.Service})
	if err != nil {
		return err
	}
	for _, id := range dangling {
		out.Images = append(out.Images, id)
		w.Did("removed dangling image %s", id)
	}
	return nil
}

// forget removes one release's image under both its names. The image itself
// goes with the last of its names: a later version may have the same one.
func forget(ctx context.Context, w *stages.Work, r ledger.Release, book ledger.Ledger, kept []string, all []engine.Container, out *state.Pruned) error {
	for _, ref := range []string{r.Tag, r.Image} {
		used := slices.ContainsFunc(all, func(c engine.Container) bool { return c.Image == ref })
		needed := slices.ContainsFunc(book.Releases, func(k ledger.Release) bool {
			return slices.Contains(kept, k.Version) && (k.Image == ref || k.Tag == ref)
		})
		if ref == "" || used || needed {
			continue
		}
		err := w.Host.Engine().RemoveImage(ctx, ref)
		switch {
		case errors.Is(err, engine.ErrNotFound):
		case errors.Is(err, engine.ErrConflict): // In use after all: another job's container.
		case err != nil:
			return err
		default:
			out.Images = append(out.Images, ref)
			w.Did("removed image %s", ref)
		}
	}
	return nil
}

// folders removes asset folders and cords that no container of ours mounts.
func folders(ctx context.Context, w *stages.Work, kept []engine.Container, out *state.Pruned) error {
	var mounted []string
	for _, c := range kept {
		for _, m := range c.Mounts {
			mounted = append(mounted, m.Source)
		}
	}
	for _, kind := range []string{"assets", "cords"} {
		if err := unused(ctx, w, path.Join(w.Names.Folder(), kind), mounted, out); err != nil {
			return err
		}
	}
	return nil
}

func unused(ctx context.Context, w *stages.Work, dir string, mounted []string, out *state.Pruned) error {
	entries, err := w.Host.Files().List(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		folder := path.Join(dir, e.Name)
		inUse := slices.ContainsFunc(mounted, func(m string) bool { return m == folder || strings.HasPrefix(m, folder+"/") })
		if inUse {
			continue
		}
		if err := w.Host.Files().Remove(ctx, folder); err != nil {
			return err
		}
		out.Folders = append(out.Folders, folder)
		w.Did("removed %s", strings.TrimPrefix(folder, w.Names.Run+"/"))
	}
	return nil
}

// mirrored removes the copies of the state of releases that nothing is kept of.
func mirrored(ctx context.Context, in stages.Input, w *stages.Work, book ledger.Ledger, out *state.Pruned) error {
	if w.Target.Host != plan.LeaseHost(in.All) || len(w.Changes()) == 0 {
		return nil // With the rest of a release goes its state.
	}
	var keep []string
	for _, r := range book.Releases {
		if slices.Contains(out.Kept, r.Version) {
			keep = append(keep, r.ID)
		}
	}
	gone, err := w.KeepMirrored(ctx, keep...)
	for _, release := range gone {
		w.Did("removed the copy of the state of release %s", release)
	}
	return err
}
