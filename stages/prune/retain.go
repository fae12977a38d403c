package prune

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
)

// ranking is the order in which versions are retained: what serves now, what
// served before it, and so on, by the ledger; then the versions that the ledger
// does not know, by the creation of their containers; then those that were rolled
// back, which only a rollback that names them goes to.
type ranking struct {
	order []string
	// before is the version that served before the live one: it is never removed.
	before string
}

// rank ranks the versions of containers.
func rank(served []ledger.Version, containers []engine.Container) ranking {
	var known, rolledBack, unknown []string
	for _, v := range served {
		if v.RolledBack {
			rolledBack = append(rolledBack, v.Name)
		} else {
			known = append(known, v.Name)
		}
	}
	sorted := slices.Clone(containers)
	slices.SortFunc(sorted, newestFirst)
	for _, c := range sorted {
		version := c.Labels[engine.LabelVersion]
		if !slices.ContainsFunc(served, func(v ledger.Version) bool { return v.Name == version }) && !slices.Contains(unknown, version) {
			unknown = append(unknown, version)
		}
	}
	r := ranking{order: slices.Concat(known, unknown, rolledBack)}
	for i, version := range r.order {
		there := slices.ContainsFunc(containers, func(c engine.Container) bool { return c.Labels[engine.LabelVersion] == version })
		if i > 0 && there && !slices.Contains(rolledBack, version) {
			r.before = version
			break
		}
	}
	return r
}

// first are as many versions, and the one that served before the live one.
func (r ranking) first(count int) []string {
	first := slices.Clone(r.order[:min(count, len(r.order))])
	if r.before != "" && !slices.Contains(first, r.before) {
		first = append(first, r.before)
	}
	return first
}

// compare puts containers of the versions to keep first.
func (r ranking) compare(a, b engine.Container) int {
	return cmp.Or(cmp.Compare(r.place(a), r.place(b)), newestFirst(a, b))
}

func (r ranking) place(c engine.Container) int {
	return slices.Index(r.order, c.Labels[engine.LabelVersion])
}

// retained splits the containers of one service and destination on one host.
// Of each role the versions that served last stay, up to keep of them and in any
// case the one before the live one, with one container for each replica; so does
// whatever runs. Leftovers of failed or replaced containers go.
func retained(book ledger.Ledger, containers []engine.Container, release string, keep int) (kept, removed []engine.Container) {
	byRole := map[string][]engine.Container{}
	for _, c := range containers {
		byRole[c.Labels[engine.LabelRole]] = append(byRole[c.Labels[engine.LabelRole]], c)
	}
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		var own []engine.Container
		for _, c := range byRole[role] {
			switch {
			case !useless(book, c, release):
				own = append(own, c)
			case c.Up():
				kept = append(kept, c) // It takes no place.
			default:
				removed = append(removed, c)
			}
		}
		order := rank(book.Versions(role), own)
		slices.SortStableFunc(own, order.compare)
		replicas := map[string][]string{} // Those of each version.
		for _, c := range own {
			version, replica := c.Labels[engine.LabelVersion], c.Labels[engine.LabelReplica]
			have, known := replicas[version]
			room := (known || len(replicas) < keep || version == order.before) && !slices.Contains(have, replica)
			if !c.Up() && !room {
				removed = append(removed, c)
				continue
			}
			kept = append(kept, c)
			replicas[version] = append(have, replica)
		}
	}
	return kept, removed
}

// useless reports whether a rollback cannot use the container, by the ledger:
// its version served without it, or an earlier release made it and never put it
// into service.
func useless(book ledger.Ledger, c engine.Container, release string) bool {
	if ids := book.Served(c.Labels[engine.LabelVersion], c.Labels[engine.LabelRole]); len(ids) > 0 {
		return !slices.Contains(ids, c.ID)
	}
	made := c.Labels[engine.LabelRelease]
	_, known := book.Find(made)
	return made != release && known
}

// newestFirst puts running containers before others, and then the newest.
func newestFirst(a, b engine.Container) int {
	if a.Running() != b.Running() {
		if a.Running() {
			return -1
		}
		return 1
	}
	return b.Created.Compare(a.Created)
}
