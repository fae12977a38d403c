package ledger

import "slices"

// Before are the containers that served the role before the release did: what
// an abort goes back to. There are none on a first deploy, and none if an older
// release replaced the role; known is false if no release says.
func (l Ledger) Before(release, role string) (ids []string, known bool) {
	for _, r := range slices.Backward(l.Releases) {
		if r.ID > release {
			continue
		}
		if entry, ok := r.Replaced[role]; ok && r.ID == release {
			return entry.Containers, true
		}
		if r.ID == release {
			continue
		}
		if r.replaces(role) {
			return nil, true
		}
		if ids := r.Live[role]; len(ids) > 0 {
			return ids, true
		}
	}
	return nil, false
}

// Find is the release's trace, and false if it left none.
func (l Ledger) Find(release string) (Release, bool) {
	at := slices.IndexFunc(l.Releases, func(r Release) bool { return r.ID == release })
	if at < 0 {
		return Release{}, false
	}
	return l.Releases[at], true
}

// Newest is the id of the newest release, or "".
func (l Ledger) Newest() string {
	if len(l.Releases) == 0 {
		return ""
	}
	return l.Releases[len(l.Releases)-1].ID
}

// Knows reports whether the release has been noted here.
func (l Ledger) Knows(release string) bool {
	return slices.ContainsFunc(l.Releases, func(r Release) bool { return r.ID == release })
}

// Serving is the newest release that serves a role here, and false if none does.
func (l Ledger) Serving() (Release, bool) {
	for _, r := range slices.Backward(l.Releases) {
		if len(r.Live) > 0 {
			return r, true
		}
	}
	return Release{}, false
}

// Retract forgets that the release serves the roles. The release itself stays:
// its image is on the host, for prune to find. It reports whether that changed
// anything.
func (l *Ledger) Retract(release string, roles []string) bool {
	at := slices.IndexFunc(l.Releases, func(r Release) bool { return r.ID == release })
	if at < 0 {
		return false
	}
	live := map[string][]string{}
	for role, ids := range l.Releases[at].Live {
		if !slices.Contains(roles, role) {
			live[role] = ids
		}
	}
	if len(live) == len(l.Releases[at].Live) {
		return false
	}
	l.Releases = slices.Clone(l.Releases)
	l.Releases[at].Live = live
	return true
}

// Forget removes the release, unless it serves a role. It reports whether that
// changed anything.
func (l *Ledger) Forget(release string) bool {
	r, found := l.Find(release)
	if !found || len(r.Live) > 0 {
		return false
	}
	l.Releases = slices.DeleteFunc(slices.Clone(l.Releases), func(r Release) bool { return r.ID == release })
	return true
}

// VersionBefore is the version of the release that put into service what Before
// finds; empty if there is none.
func (l Ledger) VersionBefore(release, role string) string {
	ids, _ := l.Before(release, role)
	if len(ids) == 0 {
		return ""
	}
	for _, r := range slices.Backward(l.Releases) {
		if r.ID < release && slices.Equal(r.Live[role], ids) {
			return r.Version
		}
	}
	return ""
}
