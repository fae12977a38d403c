package ledger

import (
	"regexp"
	"slices"
)

// AddHosts adds names to the hosts that have the service, and reports whether
// that changed anything.
func (l *Ledger) AddHosts(names []string) bool {
	merged := slices.Concat(l.Hosts, names)
	slices.Sort(merged)
	merged = slices.Compact(merged)
	changed := len(merged) > len(l.Hosts)
	l.Hosts = merged
	return changed
}

// ForgetHosts removes names from the hosts that have the service, and reports
// whether that changed anything.
func (l *Ledger) ForgetHosts(names []string) bool {
	kept := slices.DeleteFunc(slices.Clone(l.Hosts), func(h string) bool { return slices.Contains(names, h) })
	changed := len(kept) < len(l.Hosts)
	l.Hosts = kept
	return changed
}

// IsHostName reports whether a text can be the name of a host. Names come from
// files on hosts: no other text is printed or connected to.
func IsHostName(text string) bool { return len(text) <= 255 && hostName.MatchString(text) }

var hostName = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*$`)
