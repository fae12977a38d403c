package stages

import (
	"slices"

	"github.com/kstep/kstep/internal/ledger"
)

// HasOldVersion reports whether a release served before this one, on any of the
// hosts of these ledgers.
func HasOldVersion(hosts ...ledger.Ledger) bool {
	return slices.ContainsFunc(hosts, func(l ledger.Ledger) bool {
		return slices.ContainsFunc(l.Releases, func(r ledger.Release) bool { return len(r.Live) > 0 })
	})
}

// ServedBefore is HasOldVersion of the releases before one that may have begun to
// serve itself.
func ServedBefore(release string, hosts ...ledger.Ledger) bool {
	return slices.ContainsFunc(hosts, func(l ledger.Ledger) bool {
		return slices.ContainsFunc(l.Releases, func(r ledger.Release) bool { return len(r.Live) > 0 && r.ID < release })
	})
}

// OldVersion says what users have after a failure before traffic moved. On a
// first deploy there is no old version.
func OldVersion(hosts ...ledger.Ledger) string { return OldServes(HasOldVersion(hosts...)) }

// OldServes is OldVersion for callers that know whether there is one.
func OldServes(there bool) string {
	if there {
		return "the old version keeps serving"
	}
	return "this is the first version, so nothing serves yet"
}
