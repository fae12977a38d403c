package ledger

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Role is how a role was configured when a release served it.
type Role struct {
	// Proxied is true if it received traffic, Primary if it opened the barrier.
	Proxied bool `json:"proxied,omitempty"`
	Primary bool `json:"primary,omitempty"`
	// AfterBarrier is true if its containers started after the old ones stopped.
	AfterBarrier bool `json:"afterBarrier,omitempty"`
	// Port is where its containers listened.
	Port int `json:"port,omitempty"`
	// Scheme is how the proxy connected to them: `http`, `https` or `h2c`. Path is
	// that of their health check. Both are absent in entries of older versions of
	// kstep.
	Scheme string `json:"scheme,omitempty"`
	Path   string `json:"path,omitempty"`
	// Requests are those that the proxy sent to it; absent for roles without
	// traffic, and in entries of older versions of kstep.
	Requests *Requests `json:"requests,omitempty"`
}

func (r Role) equal(to Role) bool {
	a, b := r.Requests, to.Requests
	r.Requests, to.Requests = nil, nil
	return r == to && (a == nil) == (b == nil) &&
		(a == nil || slices.Equal(a.Hosts, b.Hosts) && a.PathPrefix == b.PathPrefix && a.Fallback == b.Fallback && bytes.Equal(a.Settings, b.Settings))
}

// Requests says which requests a role got: `proxy.hosts`, `proxy.path_prefix` and
// `proxy.fallback` of that time.
type Requests struct {
	Hosts      []string `json:"hosts,omitempty"`
	PathPrefix string   `json:"pathPrefix,omitempty"`
	Fallback   bool     `json:"fallback,omitempty"`
	// Settings are what else the route did, as package config writes it; absent where it
	// did nothing else.
	Settings json.RawMessage `json:"settings,omitempty"`
}

// Replaced is a role that was no longer in the configuration when a release was
// deployed, and whose containers the release replaced.
type Replaced struct {
	// By is the role that took over. The entry counts from the moment when the
	// release has containers of that role in service.
	By string `json:"by"`
	// Containers served the role before. They are kept for a rollback.
	Containers []string `json:"containers"`
	// Proxied is true if they received traffic.
	Proxied bool `json:"proxied,omitempty"`
	// Spared is true if they were left running, without traffic.
	Spared bool `json:"spared,omitempty"`
}

// replaces reports whether the release has taken the role out of service.
func (r Release) replaces(role string) bool {
	entry, ok := r.Replaced[role]
	return ok && len(r.Live[entry.By]) > 0
}

// Replace adds replaced roles to the release r. A second run adds containers to
// an entry and removes none: the first run has seen what served. It reports
// whether that changed anything.
func (l *Ledger) Replace(r Release, replaced map[string]Replaced) bool {
	changed := l.Note(r)
	at := slices.IndexFunc(l.Releases, func(have Release) bool { return have.ID == r.ID })
	merged := maps.Clone(l.Releases[at].Replaced)
	if merged == nil {
		merged = map[string]Replaced{}
	}
	for role, entry := range replaced {
		have := merged[role]
		for _, id := range have.Containers {
			if !slices.Contains(entry.Containers, id) {
				entry.Containers = append(slices.Clip(entry.Containers), id)
			}
		}
		entry.Proxied = entry.Proxied || have.Proxied
		slices.Sort(entry.Containers)
		if have.By != entry.By || have.Proxied != entry.Proxied || have.Spared != entry.Spared || !slices.Equal(have.Containers, entry.Containers) {
			merged[role], changed = entry, true
		}
	}
	l.Releases = slices.Clone(l.Releases)
	l.Releases[at].Replaced = merged
	return changed
}

// IsProxied reports whether the role received traffic, and known is false if no
// release says.
func (l Ledger) IsProxied(role string) (proxied, known bool) {
	for _, r := range slices.Backward(l.Releases) {
		if entry, ok := r.Replaced[role]; ok {
			return entry.Proxied, true
		}
		if kind, ok := r.Roles[role]; ok {
			return kind.Proxied, true
		}
	}
	return false, false
}

// Roles are the names of all roles that releases put into service or replaced
// here.
func (l Ledger) Roles() []string {
	names := map[string]bool{}
	for _, r := range l.Releases {
		for role := range r.Live {
			names[role] = true
		}
		for role, entry := range r.Replaced {
			names[role], names[entry.By] = true, true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// AsServed is how the role was configured when these containers served it last, if
// a release that put them into service has noted that.
func (l Ledger) AsServed(role string, containers []string) Role {
	for _, r := range slices.Backward(l.Releases) {
		if len(containers) > 0 && slices.Equal(r.Live[role], containers) {
			return r.Roles[role]
		}
	}
	return Role{}
}

// Kind is how the newest release that lists the role had it, and false if none
// does.
func (l Ledger) Kind(role string) (Role, bool) {
	for _, r := range slices.Backward(l.Releases) {
		if kind, ok := r.Roles[role]; ok {
			return kind, true
		}
	}
	return Role{}, false
}
