package route

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// Header is the response header by which kstep sees which route answered.
const Header = "X-Kstep-Route"

// Mark is the value of Header for a route that leads to these containers.
func Mark(ids []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(ids)), "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

// The priorities of routers. A request goes to the matching router with the
// highest one. Names come before wildcards and wildcards before every name, then
// each part of the path counts. The proxy's catch-all has 1. Traefik gives a
// router without a priority the length of its rule: the shortest that names a
// host, Host(`x`), has 9, and so comes before the role that serves every name.
const (
	anyPriority      = 2
	wildcardPriority = anyPriority + MaxDepth + 1
	namePriority     = wildcardPriority + MaxDepth + 1
)

// Kind is what the hosts of a router have in common.
type Kind int

// The kinds of hosts.
const (
	AnyHost Kind = iota
	Wildcard
	Name
)

// Kind is what the pattern's host is.
func (p Pattern) Kind() Kind {
	switch {
	case p.Host == "":
		return AnyHost
	case strings.HasPrefix(p.Host, "*."):
		return Wildcard
	}
	return Name
}

// Rule is a router of a claim: hosts of one kind.
type Rule struct {
	Kind Kind
	// Suffix is what the router's name ends with; the first has none.
	Suffix string
	// Text is Traefik's rule.
	Text string
	// Priority is the router's, where no other route on the host needs another
	// one.
	Priority int
}

// Rules are the routers that a claim needs: one for its names, one for its
// wildcards.
func (c Claim) Rules() []Rule {
	byKind := map[Kind][]string{}
	for _, p := range c.Patterns() {
		switch p.Kind() {
		case AnyHost:
			byKind[AnyHost] = nil
		case Wildcard:
			byKind[Wildcard] = append(byKind[Wildcard], wildcardMatcher(p.Host))
		case Name:
			byKind[Name] = append(byKind[Name], "Host(`"+p.Host+"`)")
		}
	}
	var rules []Rule
	for _, kind := range []struct {
		kind     Kind
		suffix   string
		priority int
	}{{Name, "", namePriority}, {Wildcard, "-wildcard", wildcardPriority}, {AnyHost, "", anyPriority}} {
		hosts, ok := byKind[kind.kind]
		if !ok {
			continue
		}
		suffix := kind.suffix
		if len(rules) == 0 {
			suffix = ""
		}
		rules = append(rules, Rule{kind.kind, suffix, matcher(hosts, c.PathPrefix), kind.priority + depth(c.PathPrefix)})
	}
	return rules
}

func matcher(hosts []string, prefix string) string {
	paths := "PathPrefix(`/`)"
	if prefix != "/" {
		// PathPrefix(`/api`) alone matches /apix too.
		paths = "(Path(`" + prefix + "`) || PathPrefix(`" + prefix + "/`))"
	}
	if len(hosts) == 0 {
		return paths
	}
	return "(" + strings.Join(hosts, " || ") + ") && " + paths
}

// wildcardMatcher stands for one label, as in certificates. Host(`*.x`) matches
// nothing in Traefik 3, and its HostRegexp sees the dot that a name may end with.
func wildcardMatcher(host string) string {
	return "HostRegexp(`^[^.]+" + regexp.QuoteMeta(strings.TrimPrefix(host, "*")) + "\\.?$`)"
}

// Fit returns a priority that is higher than low and lower than high: the usual
// one where it is, and false where there is none. Routes that an older kstep
// wrote have the length of their rules, so the usual one does not always fit.
func Fit(usual, low, high int) (int, bool) {
	const room = 16 // For routes between this one and low.
	switch {
	case low < usual && usual < high:
		return usual, true
	case low+room < high:
		return low + room, true
	case high-low >= 2:
		return low + (high-low)/2, true
	}
	return 0, false
}

var (
	oldRule = regexp.MustCompile("^(?:\\((Host\\(`[^`]+`\\)(?: \\|\\| Host\\(`[^`]+`\\))*)\\) && )?PathPrefix\\(`(/[^`]*)`\\)$")
	oldHost = regexp.MustCompile("Host\\(`([^`]+)`\\)")
)

// ParseOld reads the rule of a route that kstep wrote before routes named their
// owners, and of no other.
func ParseOld(owner Owner, rule string) (Claim, bool) {
	m := oldRule.FindStringSubmatch(rule)
	if m == nil {
		return Claim{}, false
	}
	var hosts []string
	for _, h := range oldHost.FindAllStringSubmatch(m[1], MaxHosts+1) {
		hosts = append(hosts, h[1])
	}
	c := New(owner, hosts, m[2], false)
	c.Loose = c.PathPrefix != "/"
	return c, true
}
