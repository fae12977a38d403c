package route

import (
	"fmt"
	"slices"
	"strings"
)

// Order is which of two overlapping patterns gets the requests that both match.
type Order int

// The orders of mine and theirs.
const (
	Mine     Order = iota + 1 // Mine is the more precise one.
	Theirs                    // Theirs is the more precise one.
	NoWinner                  // They are the same.
)

// Overlap is a pair of patterns of two claims that some request matches both of.
type Overlap struct {
	Mine, Theirs Pattern
	First        Order
	// Conflict reports that the claims may not stand side by side; Fallback
	// that they might if the broader claim were a fallback.
	Conflict, Fallback bool
}

// Compare returns what two claims of different owners have in common. On one
// host name the longer path wins. Where a name of one claim stands for more than
// that of the other, the broader claim has to be a fallback, and broader in its
// path too.
func Compare(mine, theirs Claim) []Overlap {
	var all []Overlap
	for _, m := range mine.Patterns() {
		for _, t := range theirs.Patterns() {
			if o, ok := compare(m, t, mine.Fallback, theirs.Fallback); ok {
				all = append(all, o)
			}
		}
	}
	return all
}

func compare(m, t Pattern, mineFallback, theirsFallback bool) (Overlap, bool) {
	host, prefix := m.hostTo(t), m.prefixTo(t)
	if host == apart || prefix == apart {
		return Overlap{}, false
	}
	o := Overlap{Mine: m, Theirs: t}
	switch {
	case host == same && prefix == same:
		o.First, o.Conflict = NoWinner, true
	case host == contains && prefix == within: // Crossing: each is the more precise one in something.
		o.First, o.Conflict = Theirs, true
	case host == within && prefix == contains:
		o.First, o.Conflict = Mine, true
	case host == same && prefix == within:
		o.First = Mine
	case host == same:
		o.First = Theirs
	case host == within:
		o.First, o.Fallback, o.Conflict = Mine, !theirsFallback, !theirsFallback
	default:
		o.First, o.Fallback, o.Conflict = Theirs, !mineFallback, !mineFallback
	}
	return o, true
}

// Before reports whether an earlier claim of the owner of Mine shared the same
// requests with Theirs in the same order: its pattern matched all that Mine
// matches, and the same side was the more precise one. A claim that is narrowed
// may win requests that the other owner got until then.
func (o Overlap) Before(earlier Claim) bool {
	return o.First != NoWinner && slices.ContainsFunc(earlier.Patterns(), func(p Pattern) bool {
		was, shared := compare(p, o.Theirs, false, false)
		return shared && was.First == o.First && p.Covers(o.Mine)
	})
}

// Shared is what people call the requests that both patterns match.
func (o Overlap) Shared() string {
	narrow := Pattern{Host: o.Mine.Host, Prefix: o.Mine.Prefix}
	if o.Mine.hostTo(o.Theirs) == contains {
		narrow.Host = o.Theirs.Host
	}
	if o.Mine.prefixTo(o.Theirs) == contains {
		narrow.Prefix = o.Theirs.Prefix
	}
	return narrow.String()
}

// Conflict is a claim that cannot stand beside another owner's on a host.
type Conflict struct {
	Host         string // The machine.
	Mine, Theirs Claim
	Overlaps     []Overlap // Those in conflict; at least one.
}

func (c *Conflict) Error() string {
	var shared []string
	for i, o := range c.Overlaps {
		if i == 3 {
			shared = append(shared, fmt.Sprintf("%d more", len(c.Overlaps)-i))
			break
		}
		shared = append(shared, o.Shared())
	}
	return fmt.Sprintf("%s claims %s on %s, which belongs to %s", c.Mine.Owner, strings.Join(shared, ", "), c.Host, c.Theirs.Owner)
}

// Hints are the ways out, the best first.
func (c *Conflict) Hints() []string {
	hints := []string{"give each service its own host names or paths: proxy.hosts, proxy.path_prefix"}
	if o := c.Overlaps[0]; o.Fallback {
		broad := c.Mine
		if o.First == Mine {
			broad = c.Theirs
		}
		hints = append(hints, fmt.Sprintf("or set proxy.fallback: true in the configuration of %s, and deploy it: it then serves what no other service claims", broad.name()))
	}
	return append(hints, fmt.Sprintf("or take %s off the host, with its configuration: kstep%s remove --yes --hosts %s (docs/routing.md shows how to rename a service without a gap)",
		c.Theirs.name(), c.Theirs.flag(), c.Host))
}

func (o Owner) name() string {
	if o.Destination == "" {
		return o.Service
	}
	return o.Service + ", destination " + o.Destination
}

func (o Owner) flag() string {
	if o.Destination == "" {
		return ""
	}
	return " -d " + o.Destination
}
