package ledger

import (
	"maps"
	"slices"
)

// KeepRestart records restart policies by container id, and reports whether
// that changed anything. A policy that is recorded already stays: it was read
// before kstep changed it.
func (l *Ledger) KeepRestart(policies map[string]string) bool {
	kept := maps.Clone(l.Restart)
	if kept == nil {
		kept = map[string]string{}
	}
	for id, policy := range policies {
		if kept[id] == "" {
			kept[id] = policy
		}
	}
	changed := len(kept) > len(l.Restart)
	if changed {
		l.Restart = kept
	}
	return changed
}

// ForgetRestart drops the policies of containers that were removed, and reports
// whether there were any.
func (l *Ledger) ForgetRestart(ids []string) bool {
	left := maps.Clone(l.Restart)
	maps.DeleteFunc(left, func(id, _ string) bool { return slices.Contains(ids, id) })
	if len(left) == len(l.Restart) {
		return false
	}
	l.Restart = left
	return true
}
