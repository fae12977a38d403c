package config

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/runopt"
)

func (c *checker) accessories() {
	c.nested()
	for i, a := range c.cfg.Accessories.All {
		segs := []string{"accessories", a.Name}
		below := func(keys ...string) []string { return append(slices.Clip(segs), keys...) }
		if _, taken := c.cfg.Role(a.Name); taken {
			c.atKey(segs, "is the name of a role, too; rename one")
		}
		if a.Name == AllAccessories {
			c.atKey(segs, "stands for all accessories on the command line; choose another name")
		}
		if a.Service == "kstep" || strings.HasPrefix(a.Service, "kstep-") {
			c.at(below("service"), "is a name of kstep's own containers; choose one that does not begin with kstep")
		}
		c.placement(a)
		c.labels(below("labels"), a.Labels)
		c.routers(below("labels"), a.Labels)
		c.volumes(below("volumes"), a.Volumes)
		c.networks(below("networks"), a.Networks)
		c.runOptions(below("options"), a.Options)
		if a.Stop != nil {
			c.stop(below("stop"), *a.Stop)
		}
		if h := a.Healthcheck; h != nil {
			c.positive(below("healthcheck", "interval"), h.Interval)
			c.positive(below("healthcheck", "timeout"), h.Timeout)
		}
		for k, m := range a.Directories {
			c.inside(below("directories", itoa(k)), m.Local, m.Remote)
		}
		for k, m := range a.Files {
			c.inside(below("files", itoa(k)), m.Remote)
		}
		c.targets(a)
		if port := (runopt.Options{Publish: a.Publish()}); a.Port != "" && len(port.Check()) > 0 {
			c.at(below("port"), "must be a port such as 5432, or [address:]host port:port such as 127.0.0.1:15432:5432")
		}
		for _, other := range c.cfg.Accessories.All[:i] {
			if a.Service != "" && a.Service == other.Service && c.share(a, other) {
				c.at(below("service"), "is the name of the container of %s, too, on the same host", other.Name)
			}
		}
	}
}

func (c *checker) inside(segs []string, paths ...string) {
	for _, p := range paths {
		if slices.Contains(strings.Split(p, "/"), "..") {
			c.at(segs, "must not lead out of its folder with ..")
		}
	}
}

// nested refuses a directory below one that a container can write: the container could
// put a link to any folder of the host in its place, which the next boot would mount.
func (c *checker) nested() {
	type folder struct {
		path, name string
		written    bool
		segs       []string
	}
	var all []folder
	for _, a := range c.cfg.Accessories.All {
		for i, m := range a.Directories {
			at := path.Clean(m.Local)
			if !path.IsAbs(at) {
				at = path.Join(a.Name, at) // Each accessory has a folder of its own.
			}
			all = append(all, folder{at, m.Local, !m.ReadOnly(), []string{"accessories", a.Name, "directories", itoa(i)}})
		}
	}
	written := slices.Clone(all)
	mounted := func(volumes []string) {
		for _, v := range volumes {
			if one := ParseVolume(v); path.IsAbs(one.Source) && !one.ReadOnly {
				written = append(written, folder{path: path.Clean(one.Source), name: one.Source, written: true})
			}
		}
	}
	for _, a := range c.cfg.Accessories.All {
		mounted(a.Volumes)
	}
	for _, role := range c.cfg.Servers.Roles {
		mounted(c.cfg.EffectiveVolumes(role))
	}
	for _, inner := range all {
		for _, outer := range written {
			if outer.written && strings.HasPrefix(inner.path, strings.TrimSuffix(outer.path, "/")+"/") {
				c.at(inner.segs, "lies in the directory %s, in which a container can put a link in its place; give it a path beside that one", outer.name)
				break
			}
		}
	}
}

// placement checks that exactly one key says where an accessory runs.
func (c *checker) placement(a Accessory) {
	segs := []string{"accessories", a.Name}
	var given []string
	for _, way := range []struct {
		key string
		set bool
	}{
		{"host", a.Host != ""}, {"hosts", a.Hosts != nil}, {"role", a.Role != ""}, {"roles", a.Roles != nil},
		{"tag", a.Tag != ""}, {"tags", a.Tags != nil},
	} {
		if way.set {
			given = append(given, way.key)
		}
	}
	switch {
	case len(given) == 0:
		c.atKey(segs, "needs a place: one of host, hosts, role, roles, tag and tags")
		return
	case len(given) > 1:
		c.atKey(append(slices.Clip(segs), given[1]), "is given beside %s; keep one", given[0])
		return
	}
	if c.isBroken("servers") {
		return
	}
	var roles, tags []string
	for _, r := range c.cfg.Servers.Roles {
		roles = append(roles, r.Name)
		for _, h := range r.Hosts {
			tags = append(tags, h.Tags...)
		}
	}
	slices.Sort(tags)
	known := len(c.problems)
	c.places(segs, "role", a.Role, a.Roles, roles)
	c.places(segs, "tag", a.Tag, a.Tags, slices.Compact(tags))
	if known == len(c.problems) && len(c.cfg.AccessoryHosts(a)) == 0 {
		c.at(append(slices.Clip(segs), given[0]), "has no hosts")
	}
}

func (c *checker) places(segs []string, what, one string, several, known []string) {
	check := func(name string, keys ...string) {
		if at := append(slices.Clip(segs), keys...); !slices.Contains(known, name) {
			c.at(at, "%s", c.unknown(at, what, name, known))
		}
	}
	if one != "" {
		check(one, what)
	}
	for i, name := range several {
		check(name, what+"s", itoa(i))
	}
}

// targets refuses two mounts at the same path of the container.
func (c *checker) targets(a Accessory) {
	seen := map[string]bool{}
	check := func(target string, keys ...string) {
		if target = path.Clean(target); seen[target] {
			c.at(append([]string{"accessories", a.Name}, keys...), "something else is mounted at %s already", target)
		}
		seen[target] = true
	}
	for i, m := range a.Files {
		check(m.Remote, "files", itoa(i))
	}
	for i, m := range a.Directories {
		check(m.Remote, "directories", itoa(i))
	}
	for i, v := range a.Volumes {
		check(volumeTarget(v), "volumes", itoa(i))
	}
}

func (c *checker) share(a, b Accessory) bool {
	theirs := c.cfg.AccessoryHosts(b)
	return slices.ContainsFunc(c.cfg.AccessoryHosts(a), func(h string) bool { return slices.Contains(theirs, h) })
}

// Bounds for the priority of a router that an accessory's labels define: above kstep's
// catch-all, and below the routes of host names (package route).
const (
	minRouterPriority = 2
	maxRouterPriority = 19
)

// routers checks the routers that an accessory's labels define: no claim is compared
// with them, so that they must not come before a service's host name. A router without
// a priority has the length of its rule. Routers of other protocols get everything of
// their entry points.
func (c *checker) routers(segs []string, labels map[string]string) {
	lower := map[string]string{}
	for name, value := range labels {
		lower[strings.ToLower(name)] = value
	}
	for name := range labels {
		parts := strings.Split(strings.ToLower(name), ".")
		if len(parts) < 5 || parts[0] != "traefik" || parts[2] != "routers" {
			continue
		}
		at := append(slices.Clip(segs), name)
		router := strings.Join(parts[:4], ".")
		if parts[1] != "http" {
			points := strings.Split(lower[router+".entrypoints"], ",")
			if slices.ContainsFunc(points, func(p string) bool {
				return slices.Contains([]string{"", "web", "traefik"}, strings.ToLower(strings.TrimSpace(p)))
			}) {
				c.atKey(at, "would get all connections of the services; set %s.entrypoints to an entry point of its own (proxy.args)", router)
			}
			continue
		}
		priority, err := strconv.Atoi(lower[router+".priority"])
		if strings.HasSuffix(strings.ToLower(name), ".rule") && (err != nil || priority < minRouterPriority || priority > maxRouterPriority) {
			c.atKey(at, "needs the label %s.priority with a number from %d to %d: without it a router comes before the host names of services", router, minRouterPriority, maxRouterPriority)
		}
	}
}
