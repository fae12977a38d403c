package prune

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	hosts "github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// seen is what a host has.
type seen struct {
	host    string
	book    ledger.Ledger
	all     []engine.Container // Of whatever service.
	folders []string           // Of assets and cords.
	images  []engine.Image     // If their size counts.
	roles   []string           // Those that the config has on the host.
}

// serves reports whether the container is in service, or would be if it ran.
func (s seen) serves(c engine.Container) bool {
	role := c.Labels[engine.LabelRole]
	return slices.Contains(s.roles, role) && slices.Contains(s.book.Live(role), c.ID)
}

// look observes all but the containers.
func look(ctx context.Context, in stages.Input, w *stages.Work) (seen, error) {
	book, err := w.Guarded(ctx)
	if err != nil {
		return seen{}, err
	}
	s := seen{host: w.Target.Host, book: book}
	for _, t := range in.All {
		if t.Host == w.Target.Host {
			s.roles = append(s.roles, t.Role.Name)
		}
	}
	for _, dir := range []string{w.Names.Assets(), w.Names.Cords()} {
		entries, err := w.Host.Files().List(ctx, dir)
		if err != nil {
			return s, err
		}
		for _, e := range entries {
			if hosts.IsName(e.Name) { // Else kstep did not make it.
				s.folders = append(s.folders, path.Join(dir, e.Name))
			}
		}
	}
	if in.Config.RetainSize > 0 {
		s.images, err = w.Host.Engine().Images(ctx, engine.Filter{})
	}
	return s, err
}

// todo is what goes, and what stays.
type todo struct {
	containers []engine.Container
	stopped    []engine.Container // They stay, and must not run.
	images     []string           // By reference.
	gone       []ledger.Release   // Nothing is kept of them.
	folders    []string
	kept       []string // Versions.
	releases   []string // Those of kept versions.
}

// decide returns what is past retention.
func decide(in stages.Input, s seen) todo {
	var t todo
	own, over := others(engine.With(s.all, stages.RoleLabels(in.Config, "")), in.Release)
	kept, removed := retained(s.book, own, in.Release, in.Config.Retain)
	kept, departed := retainedOfLeft(in, s, kept)
	removed = slices.Concat(over, removed, departed)
	if limit := in.Config.RetainSize; limit > 0 {
		var more []engine.Container
		kept, more = within(s.book, kept, s.images, int64(limit))
		removed = append(removed, more...)
	}
	t.containers, t.kept = removed, versions(kept)
	t.stopped = slices.DeleteFunc(slices.Clone(kept), func(c engine.Container) bool { return c.Up() || s.serves(c) })
	rest := slices.DeleteFunc(slices.Clone(s.all), func(c engine.Container) bool {
		return slices.ContainsFunc(removed, func(r engine.Container) bool { return r.ID == c.ID })
	})
	for _, r := range s.book.Releases {
		if slices.Contains(t.kept, r.Version) {
			t.releases = append(t.releases, r.ID)
		} else if r.ID != in.Release {
			t.gone = append(t.gone, r)
			t.images = append(t.images, unneeded(r, s.book, t.kept, rest)...)
		}
	}
	slices.Sort(t.images) // A version may have several releases.
	t.images = slices.Compact(t.images)
	t.folders = unmounted(s.folders, rest)
	return t
}

// retainedOfLeft splits off the stopped containers of roles that are not
// configured on the host any more, if they are older than the retained releases:
// no newer version of such a role pushes them out.
func retainedOfLeft(in stages.Input, s seen, kept []engine.Container) (stay, departed []engine.Container) {
	newest := append(rank(s.book.Versions(""), kept).first(in.Config.Retain), in.Version)
	for _, c := range kept {
		if !c.Up() && !plan.IsTarget(in.All, c.Labels[engine.LabelRole], s.host) && !slices.Contains(newest, c.Labels[engine.LabelVersion]) {
			departed = append(departed, c)
		} else {
			stay = append(stay, c)
		}
	}
	return stay, departed
}

// unneeded are the names of a release's image that can go. Only tags in this
// destination's own ledger are candidates, and none that any container uses,
// so a release of another destination, even one that is just being deployed,
// is safe. The image itself goes with the last of its names: a later version
// may have the same one.
func unneeded(r ledger.Release, book ledger.Ledger, kept []string, all []engine.Container) []string {
	var refs []string
	for _, ref := range []string{r.Tag, r.Image} {
		used := slices.ContainsFunc(all, func(c engine.Container) bool { return stages.Uses(c, r, ref) })
		needed := slices.ContainsFunc(book.Releases, func(k ledger.Release) bool {
			return slices.Contains(kept, k.Version) && (k.Image == ref || k.Tag == ref)
		})
		if ref != "" && !used && !needed {
			refs = append(refs, ref)
		}
	}
	return refs
}

// unmounted are the folders that no container mounts.
func unmounted(folders []string, all []engine.Container) []string {
	return slices.DeleteFunc(slices.Clone(folders), func(folder string) bool {
		return slices.ContainsFunc(all, func(c engine.Container) bool {
			return slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool {
				return m.Source == folder || strings.HasPrefix(m.Source, folder+"/")
			})
		})
	})
}

func inRun(w *stages.Work, folder string) string { return strings.TrimPrefix(folder, w.Names.Run+"/") }

func removing(kind, what string) stages.Act {
	return stages.To(stages.Remove, "%s", strings.TrimSpace(kind+" "+what))
}
