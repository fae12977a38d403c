package ledger

import "slices"

// NoteFirst records which of the roles nothing served here before the release.
// It is called before the release's containers are noted as live: later, prune
// may have forgotten what served before. It reports whether that changed
// anything.
func (l *Ledger) NoteFirst(release string, roles []string) bool {
	at := slices.IndexFunc(l.Releases, func(r Release) bool { return r.ID == release })
	if at < 0 {
		return false
	}
	first := slices.Clone(l.Releases[at].First)
	for _, role := range roles {
		before, _ := l.Before(release, role)
		if len(before) == 0 && len(l.Releases[at].Live[role]) == 0 && !slices.Contains(first, role) {
			first = append(first, role)
		}
	}
	if len(first) == len(l.Releases[at].First) {
		return false
	}
	slices.Sort(first)
	l.Releases = slices.Clone(l.Releases)
	l.Releases[at].First = first
	return true
}
