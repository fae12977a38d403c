package kamal

import (
	"slices"
	"strings"
)

// networkUse is an option `network` of one part of the configuration.
type networkUse struct {
	key, name string
	role      bool
	at        *node
	out       []string // Where kstep has further networks of this part.
}

func (im *importer) network(key string, q pair, owner string, out func(...string) []string) {
	for _, n := range many(q.value) {
		if n.kind == scalar {
			im.parts = append(im.parts, networkUse{key, im.value(key, n), strings.HasPrefix(owner, "servers."), q.at(), out("networks")})
		}
	}
}

// ownNetwork reports whether Docker or Kamal makes a network for its own sake.
func ownNetwork(name string) bool {
	return slices.Contains([]string{"kamal", "bridge", "default"}, name)
}

// dropNetworks decides about the networks of all parts. One that roles share
// with accessories or Traefik of the same file is there for them alone: kstep
// gives a service a network. Any other is there to meet something else.
func (im *importer) dropNetworks() {
	said := map[string]bool{}
	for _, use := range im.parts {
		same := func(role bool) bool {
			return slices.ContainsFunc(im.parts, func(o networkUse) bool { return o.name == use.name && o.role == role })
		}
		key := strings.Join(use.out, ".")
		switch {
		case ownNetwork(use.name) || same(true) && same(false):
			if !said[use.name] {
				var all []string
				for _, o := range im.parts {
					if o.name == use.name && o.key != use.key {
						all = append(all, o.key)
					}
				}
				also := ""
				if len(all) > 0 {
					also = " (also " + strings.Join(all, ", ") + ")"
				}
				im.changed(Networks, use.key, use.at, "the network %s is dropped: application and accessories share the network that kstep makes for the service%s", use.name, also)
			}
			said[use.name] = true
		case use.name == "host" || use.name == "none" || strings.HasPrefix(use.name, "container:"):
			im.lost(Networks, use.key, use.at, "network %s: kstep's containers are on a network of their service", use.name)
		case len(use.out) == 0 || !im.knows(placeOf(use.out)...):
			im.lost(Networks, use.key, use.at, "the network %s, on which something else may be, is not joined", use.name)
		default:
			l := im.out.get(use.out...)
			if l == nil {
				l = listOf(use.at)
				im.put(l, use.out...)
			}
			l.items = append(l.items, words(use.name, use.at, false))
			im.changed(Networks, use.key, use.at, "the network %s is under %s, besides the network that kstep makes for the service; it has to be on the host", use.name, key)
		}
	}
}
