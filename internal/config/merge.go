package config

import "slices"

// merge puts a destination's tree over the main one: maps merge key by key,
// lists and scalars are replaced, null takes a key away. Where one side uses a
// shorthand and the other the long form, the shorthand is spelled out first,
// so that a destination's list of hosts keeps the role's other keys.
func merge(base, over *node, segs []string) *node {
	base, over = spellOut(base, over, segs)
	if base.kind != mapping || over.kind != mapping {
		return over
	}
	for _, p := range over.pairs {
		old := base.get(p.key)
		if p.value.isNull() && old != nil {
			base.remove(p.key)
			continue
		}
		value := p.value
		if old != nil {
			value = merge(old, p.value, append(slices.Clip(segs), p.key))
		}
		base.set(p.key, p.at, value)
	}
	return base
}

// spellOut gives both sides the same form where they differ.
func spellOut(base, over *node, segs []string) (*node, *node) {
	switch {
	case matches("servers", segs):
		if base.kind == list && over.kind == mapping {
			base = wrap("web", base)
		}
		if base.kind == mapping && over.kind == list {
			over = wrap("web", over)
		}
	case matches("servers.*", segs):
		if base.kind == list && over.kind == mapping {
			base = wrap("hosts", base)
		}
		if base.kind == mapping && over.kind == list {
			over = wrap("hosts", over)
		}
	case matches("registries", segs) && base.kind != over.kind:
		base, over = mergeableRegistries(base, over)
	case isEnv(segs) && base.kind == mapping && over.kind == mapping:
		if len(base.pairs) > 0 && len(over.pairs) > 0 && isStructured(base) != isStructured(over) {
			base, over = structured(base), structured(over)
		}
	}
	return base, over
}

// mergeableRegistries gives a list and a map of registries the form of a map. A
// list with an entry that has no server of its own stays one, to be refused.
func mergeableRegistries(base, over *node) (*node, *node) {
	a, missingA := byServer(base)
	b, missingB := byServer(over)
	if len(missingA)+len(missingB) > 0 {
		return base, over
	}
	return a, b
}

func wrap(key string, n *node) *node {
	return &node{kind: mapping, at: n.at, path: n.path, pairs: []pair{{key: key, at: n.at, path: n.path, value: n}}}
}

func structured(env *node) *node {
	if env.kind != mapping || isStructured(env) || len(env.pairs) == 0 {
		return env
	}
	return wrap("clear", env)
}

// dropNulls removes keys that were left without a value, as a commented-out
// block leaves them. A variable, label, role or host without a value stays, to
// be refused: it may be meant to be empty, or forgotten. A tag without
// variables is a tag all the same.
func dropNulls(n *node, segs []string) {
	last := ""
	if len(segs) > 0 {
		last = segs[len(segs)-1]
	}
	switch {
	case among("env.tags env_tags", segs):
		for _, p := range n.pairs {
			if p.value.isNull() {
				p.value.kind = mapping
			}
		}
	case among(freePlaces+" servers tasks accessories registries", segs), isEnv(segs) && !isStructured(n),
		last == "clear" && isEnv(segs[:len(segs)-1]), last == inList:
	default:
		n.pairs = slices.DeleteFunc(n.pairs, func(p pair) bool { return p.value.isNull() })
	}
	for _, p := range n.pairs {
		dropNulls(p.value, append(slices.Clip(segs), p.key))
	}
	for _, item := range n.items {
		dropNulls(item, append(slices.Clip(segs), inList))
	}
}

// inList stands for an index while nulls are dropped; no key looks like it.
const inList = "\x00"
