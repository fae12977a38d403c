package stages

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// Previous is where a rollback that names no version goes to: of the versions
// that served before the live one, the latest that was not rolled back and is
// ready on all of its targets. passed are those that come before it and are not
// ready. The versions are in the order of service, as History returns them. All
// commands that speak of a rollback go by this rule.
func Previous(past []Past) (to Past, passed []Past, ok bool) {
	for _, p := range earlierThanLive(past) {
		if p.Everywhere() {
			return p, passed, true
		}
		passed = append(passed, p)
	}
	return Past{}, passed, false
}

// PreviousFresh is Previous for a rollback that makes new containers. With a registry it
// needs nothing on the hosts; without one, a host that has the image.
func PreviousFresh(past []Past, direct bool) (to Past, ok bool) {
	for _, p := range earlierThanLive(past) {
		if !direct || p.image != "" {
			return p, true
		}
	}
	return Past{}, false
}

// earlierThanLive are the versions that a rollback may go to on its own.
// A version that serves on some targets only can come back on the others.
func earlierThanLive(past []Past) []Past {
	live := slices.IndexFunc(past, func(p Past) bool { return len(p.Live) > 0 })
	if len(past) == 0 {
		return nil
	}
	// If nothing serves, the latest in service was stopped by hand.
	return slices.DeleteFunc(slices.Clone(past[max(live, 0)+1:]), func(p Past) bool {
		return p.RolledBack || len(p.Live) == len(p.Targets)
	})
}

// served are the versions that served any of the targets, in the order of their
// last service, the latest first: by the ledgers of all hosts together.
func served(targets []plan.Target, found map[string]Sight) []ledger.Version {
	releases := map[string]ledger.Release{}
	for _, t := range targets {
		for _, r := range found[t.Key()].Book.Releases {
			if len(r.Live[t.Role.Name]) > 0 {
				r.Left = slices.Concat(r.Left, releases[r.ID].Left)
				releases[r.ID] = r
			}
		}
	}
	return ledger.VersionsOf(slices.SortedFunc(maps.Values(releases), func(a, b ledger.Release) int { return cmp.Compare(a.ID, b.ID) }))
}
