package config

import (
	"slices"
)

// canonical spells out every shorthand in the tree, so that the rest sees one
// form: roles are maps, environments are structured, tags are below env, and a
// role's health check and stop stand over the top level's.
func (c *checker) canonical() {
	c.canonicalServers()
	c.canonicalAccessories()
	c.canonicalRegistries()
	c.tree.walk(func(segs []string, n *node) {
		if isEnv(segs) && n.kind == mapping && !isStructured(n) && len(n.pairs) > 0 {
			*n = *structured(&node{kind: mapping, at: n.at, path: n.path, pairs: n.pairs})
		}
	})
	c.moveTags()
	c.splitCommands()
}

func (c *checker) canonicalServers() {
	servers := c.tree.get("servers")
	if servers == nil {
		return
	}
	if servers.kind == list {
		*servers = *wrap("web", &node{kind: list, at: servers.at, path: servers.path, items: servers.items})
	}
	for _, p := range servers.pairs {
		role := p.value
		if role.kind == list {
			*role = *wrap("hosts", &node{kind: list, at: role.at, path: role.path, items: role.items})
		}
		c.inherit(role, "healthcheck")
		c.inherit(role, "stop")
	}
}

func (c *checker) canonicalAccessories() {
	accessories := c.tree.get("accessories")
	if accessories == nil {
		return
	}
	for _, p := range accessories.pairs {
		c.inherit(p.value, "stop")
	}
}

// inherit puts a part over the top level's.
func (c *checker) inherit(in *node, key string) {
	if base, over := c.tree.get(key), in.get(key); base != nil && over != nil {
		*over = *merge(base.clone(), over, []string{key})
	}
}

// moveTags moves env_tags into env.tags.
func (c *checker) moveTags() {
	tags := c.tree.get("env_tags")
	if tags == nil {
		return
	}
	env := c.tree.get("env")
	if env == nil {
		env = &node{kind: mapping, at: tags.at, path: tags.path}
		c.tree.set("env", tags.at, env)
	}
	into := env.get("tags")
	if into == nil {
		into = &node{kind: mapping, at: tags.at, path: tags.path}
		env.set("tags", tags.at, into)
	}
	for _, p := range tags.pairs {
		if other := into.get(p.key); other != nil {
			c.atKey([]string{"env_tags", p.key}, "tag %q is also in env.tags, on line %d; keep one", p.key, other.at.line)
			continue
		}
		into.pairs = append(into.pairs, p)
	}
	c.tree.remove("env_tags")
}

// splitCommands refuses command lines that cannot be split into words.
func (c *checker) splitCommands() {
	var refused [][]string
	c.tree.walk(func(segs []string, n *node) {
		if n.kind != scalar || !among(commandPlaces, segs) {
			return
		}
		all, err := Words(n.text)
		switch {
		case err != nil:
			c.at(segs, "%s", err)
		case len(all) == 0:
			c.at(segs, "must not be empty")
		default:
			return
		}
		refused = append(refused, segs)
	})
	for _, segs := range refused {
		last := len(segs) - 1
		c.tree.find(segs[:last]).remove(segs[last])
	}
}

// uniteHosts puts the tags of a host that is listed twice together, in the
// order they are written.
func uniteHosts(hosts []Host) []Host {
	var all []Host
	for _, h := range hosts {
		i := slices.IndexFunc(all, func(o Host) bool { return o.Name == h.Name })
		if i < 0 {
			i = len(all)
			all = append(all, Host{Name: h.Name})
		}
		for _, tag := range h.Tags {
			if !slices.Contains(all[i].Tags, tag) {
				all[i].Tags = append(all[i].Tags, tag)
			}
		}
	}
	return all
}
