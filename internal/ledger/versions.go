package ledger

import "slices"

// Version is a version that served.
type Version struct {
	Name string
	// Release is the newest release that put the version into service.
	Release string
	// RolledBack is true if a rollback left the version, or went past it, and
	// nothing has put it into service since. A rollback without a version does
	// not go there.
	RolledBack bool
}

// Versions are the versions that served the role, the latest in service first.
// With an empty role, a version that served any role counts.
func (l Ledger) Versions(role string) []Version {
	return VersionsOf(slices.DeleteFunc(slices.Clone(l.Releases), func(r Release) bool {
		return role == "" && len(r.Live) == 0 || role != "" && len(r.Live[role]) == 0
	}))
}

// VersionsOf are the versions of releases that served, oldest release first. The
// versions come in the order of their last service, the latest first.
func VersionsOf(served []Release) []Version {
	var all []Version // The latest last.
	for _, r := range served {
		for i := range all {
			all[i].RolledBack = all[i].RolledBack || slices.Contains(r.Left, all[i].Name)
		}
		all = slices.DeleteFunc(all, func(v Version) bool { return v.Name == r.Version })
		all = append(all, Version{Name: r.Version, Release: r.ID})
	}
	slices.Reverse(all)
	return all
}

// leaves are the versions that served after the one that a rollback goes back to.
// One to a version that was rolled back itself is a way forward, and leaves none.
func (l Ledger) leaves(r Release) []string {
	if !r.GoesBack {
		return nil
	}
	before := Ledger{Releases: slices.DeleteFunc(slices.Clone(l.Releases), func(have Release) bool { return have.ID >= r.ID })}
	versions := before.Versions("")
	at := slices.IndexFunc(versions, func(v Version) bool { return v.Name == r.Version })
	if at < 0 || versions[at].RolledBack {
		return nil
	}
	var names []string
	for _, v := range versions[:at] {
		names = append(names, v.Name)
	}
	return names
}
