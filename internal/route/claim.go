// Package route says who owns which requests on a host: the claim of a
// service's role on host names and paths, what two claims have in common, and
// the Traefik rules and priorities that follow from a claim. It is pure: it
// reads no files and knows no proxy.
package route

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Owner is who a route belongs to.
type Owner struct {
	Service     string `json:"service"`
	Destination string `json:"destination,omitempty"`
	Role        string `json:"role"`
}

// String names the owner in messages: `shop, destination staging (role web)`.
func (o Owner) String() string {
	if o.Destination == "" {
		return fmt.Sprintf("%s (role %s)", o.Service, o.Role)
	}
	return fmt.Sprintf("%s, destination %s (role %s)", o.Service, o.Destination, o.Role)
}

// SameService reports whether both owners are roles of one service and
// destination.
func (o Owner) SameService(other Owner) bool {
	return o.Service == other.Service && o.Destination == other.Destination
}

// Claim is what an owner claims: requests to these host names, below this path.
type Claim struct {
	Owner
	// Hosts are names, or wildcards such as `*.example.com`; none means every
	// name.
	Hosts []string `json:"hosts,omitempty"`
	// PathPrefix is a path without a slash at its end, or `/`.
	PathPrefix string `json:"path_prefix"`
	// Fallback leaves to others what they claim more precisely.
	Fallback bool `json:"fallback,omitempty"`
	// Loose is set for a route of an older kstep: its prefix `/api` matches
	// `/apix` too.
	Loose bool `json:"-"`
}

// New returns the claim with its names and its path in one spelling.
func New(owner Owner, hosts []string, prefix string, fallback bool) Claim {
	c := Claim{Owner: owner, PathPrefix: Prefix(prefix), Fallback: fallback}
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, Host(h))
	}
	slices.Sort(c.Hosts)
	c.Hosts = slices.Compact(c.Hosts)
	return c
}

// Equal reports whether both claims are for the same requests on the same
// terms, by the same owner.
func (c Claim) Equal(other Claim) bool {
	return c.Owner == other.Owner && slices.Equal(c.Hosts, other.Hosts) && c.PathPrefix == other.PathPrefix &&
		c.Fallback == other.Fallback && c.Loose == other.Loose
}

// Host is a host name in the spelling that is compared: lower case, without a
// port and without a dot at its end.
func Host(name string) string {
	name = strings.ToLower(name)
	if before, port, ok := strings.Cut(name, ":"); ok && !strings.Contains(port, ":") {
		name = before
	}
	return strings.TrimSuffix(name, ".")
}

// Prefix is a path prefix in the spelling that is compared.
func Prefix(prefix string) string { return path.Clean("/" + prefix) }

const label = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`

// HostPattern matches a host name, or a wildcard for all names one level below
// another one. It is the pattern of the schema.
const HostPattern = `^(\*\.)?` + label + `(\.` + label + `)*$`

// MaxHosts, MaxHostLength and MaxDepth bound a claim: how many host names, how
// many characters in one, and how many parts of a path.
const (
	MaxHosts      = 250
	MaxHostLength = 253
	MaxDepth      = 8
)

var (
	hostShape   = regexp.MustCompile(HostPattern)
	nameShape   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,252}$`)
	roleShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,252}$`)
	prefixShape = regexp.MustCompile("^/[!-_a-z|~]*$")
)

// CheckPrefix returns why a path prefix can match no request, or is refused.
func CheckPrefix(prefix string) error {
	switch {
	case Prefix(prefix) != cmp.Or(strings.TrimSuffix(prefix, "/"), "/"):
		return fmt.Errorf("must not hold //, /./ or /../: the proxy cleans the paths of requests")
	case strings.ContainsAny(prefix, "?#"):
		return fmt.Errorf("must be a path only, without ? and #")
	case depth(Prefix(prefix)) > MaxDepth:
		return fmt.Errorf("has more than %d parts", MaxDepth)
	}
	return nil
}

// encoded is an escape in a path that Traefik 3 leaves as it is, because its
// meaning would change. It decodes all others before it compares, and writes
// the letters of these in upper case.
var encoded = regexp.MustCompile(`%(2[1346-9ABCF]|25|3[ABDF]|40|5[BD])`)

// CheckEncoding returns why a path prefix with a percent sign matches no request.
func CheckEncoding(prefix string) error {
	if rest := encoded.ReplaceAllString(prefix, ""); strings.Contains(rest, "%") {
		return fmt.Errorf("has a percent sign that no request has when the proxy compares it: write the character itself, and escapes such as %%2F in capital letters")
	}
	return nil
}

// check refuses what kstep would not have written.
func (c Claim) check() error {
	switch {
	case !nameShape.MatchString(c.Service), c.Destination != "" && !roleShape.MatchString(c.Destination), !roleShape.MatchString(c.Role):
		return fmt.Errorf("no such owner")
	case len(c.Hosts) > MaxHosts:
		return fmt.Errorf("too many hosts")
	case len(c.PathPrefix) > 1024 || !prefixShape.MatchString(c.PathPrefix) || CheckPrefix(c.PathPrefix) != nil || Prefix(c.PathPrefix) != c.PathPrefix:
		return fmt.Errorf("no such path prefix")
	}
	for _, h := range c.Hosts {
		if len(h) > MaxHostLength || !hostShape.MatchString(h) || Host(h) != h {
			return fmt.Errorf("no such host")
		}
	}
	return nil
}

// Pattern is one host name or wildcard of a claim with its path prefix. An
// empty host is every name.
type Pattern struct {
	Host, Prefix string
	loose        bool
}

// Patterns are the claim's, one for each host.
func (c Claim) Patterns() []Pattern {
	if len(c.Hosts) == 0 {
		return []Pattern{{"", c.PathPrefix, c.Loose}}
	}
	all := make([]Pattern, len(c.Hosts))
	for i, h := range c.Hosts {
		all[i] = Pattern{h, c.PathPrefix, c.Loose}
	}
	return all
}

// String is the pattern as people write it: `shop.example.com/api`.
func (p Pattern) String() string {
	prefix := strings.TrimSuffix(p.Prefix, "/")
	switch {
	case p.Host == "" && prefix == "":
		return "every host name"
	case p.Host == "":
		return prefix + " on every host name"
	}
	return p.Host + prefix
}

// Covers reports whether every request that matches other matches p too.
func (p Pattern) Covers(other Pattern) bool {
	host, prefix := p.hostTo(other), p.prefixTo(other)
	return (host == same || host == contains) && (prefix == same || prefix == contains)
}

// Matches reports whether a request with this host name and path matches.
func (p Pattern) Matches(host, requestPath string) bool {
	return p.Covers(Pattern{Host: Host(host), Prefix: Prefix(requestPath)})
}

// relation is what one thing is to another.
type relation int

const (
	apart relation = iota
	same
	contains
	within
)

func (p Pattern) hostTo(other Pattern) relation {
	switch {
	case p.Host == other.Host:
		return same
	case p.Host == "" || below(other.Host, p.Host):
		return contains
	case other.Host == "" || below(p.Host, other.Host):
		return within
	}
	return apart
}

// below reports whether a wildcard stands for the name. As in certificates, it
// stands for one label.
func below(name, wildcard string) bool {
	parent, ok := strings.CutPrefix(wildcard, "*.")
	first, rest, more := strings.Cut(name, ".")
	return ok && more && first != "*" && rest == parent
}

func (p Pattern) prefixTo(other Pattern) relation {
	switch {
	case p.Prefix == other.Prefix:
		return same
	case p.prefixes(other.Prefix):
		return contains
	case other.prefixes(p.Prefix):
		return within
	}
	return apart
}

// prefixes reports whether a path is below the pattern's prefix, which ends
// with a whole part of the path unless the pattern is loose.
func (p Pattern) prefixes(longer string) bool {
	if p.loose {
		return strings.HasPrefix(longer, p.Prefix)
	}
	return p.Prefix == "/" || strings.HasPrefix(longer, p.Prefix+"/")
}

func depth(prefix string) int { return strings.Count(strings.TrimSuffix(prefix, "/"), "/") }
