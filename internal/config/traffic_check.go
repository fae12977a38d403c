package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/route"
)

// traffic checks the requests that the service claims.
func (c *checker) traffic() {
	p := c.cfg.Proxy
	if err := cmp.Or(route.CheckPrefix(p.PathPrefix), route.CheckEncoding(p.PathPrefix)); err != nil {
		c.at([]string{"proxy", "path_prefix"}, "%s", err)
	}
	seen := map[string]bool{}
	for i, host := range p.Hosts {
		if host = route.Host(host); seen[host] {
			c.at([]string{"proxy", "hosts", itoa(i)}, "is listed twice")
		}
		seen[host] = true
	}
	wildcard := slices.ContainsFunc(p.Hosts, func(h string) bool { return strings.HasPrefix(h, "*.") })
	if p.Fallback && len(p.Hosts) > 0 && !wildcard {
		c.at([]string{"proxy", "fallback"}, "has no effect: each of proxy.hosts is one name only; leave it out, or use a wildcard or no hosts")
	}
	c.oneRoleWithTraffic()
}

// oneRoleWithTraffic refuses two roles that would get the same requests: hosts
// and path_prefix are the service's.
func (c *checker) oneRoleWithTraffic() {
	if c.isBroken("servers") {
		return
	}
	taken := map[string]string{} // Role by host.
	for _, role := range c.cfg.Servers.Roles {
		if !c.cfg.Proxied(role) {
			continue
		}
		for i, host := range role.Hosts {
			other, twice := taken[host.Name]
			if !twice || other == role.Name {
				taken[host.Name] = role.Name
				continue
			}
			at := []string{"servers", role.Name, "proxy"}
			if c.tree.find(at) == nil {
				at = []string{"servers", role.Name, "hosts", itoa(i)}
			}
			c.at(at, "roles %s and %s would both get the requests on %s; set proxy: false on one, or give them different hosts", other, role.Name, host.Name)
			break
		}
	}
}
