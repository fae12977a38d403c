package kamal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v4"
)

type kind int

const (
	null kind = iota
	scalar
	mapping
	list
)

// node is a value of a configuration, Kamal's or kstep's. In Kamal's, text may
// hold marks that stand for Ruby; in kstep's, it is in kstep's notation.
type node struct {
	kind  kind
	text  string
	plain bool // Without quotes: a number, a boolean, or text.
	file  string
	line  int
	pairs []pair
	items []*node
}

type pair struct {
	key   string
	line  int
	value *node
}

func (n *node) get(keys ...string) *node {
	for _, key := range keys {
		if n == nil || n.kind != mapping {
			return nil
		}
		i := slices.IndexFunc(n.pairs, func(p pair) bool { return p.key == key })
		if i < 0 {
			return nil
		}
		n = n.pairs[i].value
	}
	return n
}

// set puts a value at a path of keys and makes the maps on the way.
func (n *node) set(value *node, keys ...string) {
	for i, key := range keys {
		if i == len(keys)-1 {
			if k := slices.IndexFunc(n.pairs, func(p pair) bool { return p.key == key }); k >= 0 {
				n.pairs[k].value = value
				return
			}
			n.pairs = append(n.pairs, pair{key: key, line: value.line, value: value})
			return
		}
		next := n.get(key)
		if next == nil || next.kind != mapping {
			next = &node{kind: mapping, file: value.file, line: value.line}
			n.set(next, key)
		}
		n = next
	}
}

func (n *node) remove(key string) {
	n.pairs = slices.DeleteFunc(n.pairs, func(p pair) bool { return p.key == key })
}

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.pairs, c.items = slices.Clone(n.pairs), slices.Clone(n.items)
	for i := range c.pairs {
		c.pairs[i].value = c.pairs[i].value.clone()
	}
	for i := range c.items {
		c.items[i] = c.items[i].clone()
	}
	return &c
}

func equal(a, b *node) bool {
	if a.kind != b.kind || a.text != b.text || a.plain != b.plain || len(a.pairs) != len(b.pairs) || len(a.items) != len(b.items) {
		return false
	}
	for _, p := range a.pairs {
		other := b.get(p.key)
		if other == nil || !equal(p.value, other) {
			return false
		}
	}
	for i := range a.items {
		if !equal(a.items[i], b.items[i]) {
			return false
		}
	}
	return true
}

// isEmpty reports that there is no value, or one without content.
func (n *node) isEmpty() bool {
	return n == nil || n.kind == null || (n.kind == mapping && len(n.pairs) == 0) || (n.kind == list && len(n.items) == 0)
}

// text is the text of a scalar, or "".
func text(n *node) string {
	if n == nil || n.kind != scalar {
		return ""
	}
	return n.text
}

// many are the entries of a list, or the one value.
func many(n *node) []*node {
	switch {
	case n == nil || n.kind == null:
		return nil
	case n.kind == list:
		return n.items
	}
	return []*node{n}
}

// merge puts a destination's tree over the main one, as Kamal does: maps merge
// key by key, everything else is replaced.
func merge(base, over *node) *node {
	if base == nil || base.kind != mapping || over.kind != mapping {
		return over.clone()
	}
	merged := base.clone()
	for _, p := range over.pairs {
		old := merged.get(p.key)
		if old == nil {
			merged.pairs = append(merged.pairs, pair{key: p.key, line: p.line, value: p.value.clone()})
			continue
		}
		i := slices.IndexFunc(merged.pairs, func(m pair) bool { return m.key == p.key })
		value := merge(old, p.value)
		if old.kind != mapping || p.value.kind != mapping {
			merged.pairs[i].line = p.line
		}
		merged.pairs[i].value = value
	}
	return merged
}

// Limits that no real file meets; they bound what aliases can make of it.
const (
	maxDepth = 40
	maxNodes = 20_000
)

// parseYAML reads one document. The file is Kamal's, with Ruby taken out.
func parseYAML(data, file string) (*node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader([]byte(data)))
	if err != nil {
		return nil, yamlError(file, err)
	}
	var doc yaml.Node
	err = loader.Load(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return &node{kind: mapping, file: file, line: 1}, nil
	}
	if err != nil {
		return nil, yamlError(file, err)
	}
	r := &yamlReader{file: file}
	root := r.convert(doc.Content[0], 0)
	if r.err != nil {
		return nil, r.err
	}
	if root.kind == null {
		root = &node{kind: mapping, file: file, line: 1}
	}
	if root.kind != mapping {
		return nil, refused("%s: is not a map of keys such as `service: shop`", file)
	}
	return root, nil
}

func yamlError(file string, err error) error {
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		return refused("%s:%d: not valid YAML once the Ruby is taken out: %s", file, e.Mark.Line, e.Message)
	}
	return refused("%s: not valid YAML once the Ruby is taken out: %w", file, err)
}

type yamlReader struct {
	file  string
	nodes int
	err   error
}

func (r *yamlReader) convert(y *yaml.Node, depth int) *node {
	n := &node{file: r.file, line: y.Line}
	if r.nodes++; r.nodes > maxNodes || depth > maxDepth {
		r.err = refused("%s:%d: nested too deeply, or aliases make too much of it", r.file, y.Line)
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		target := r.convert(y.Alias, depth+1)
		target.line = y.Line
		return target
	case yaml.MappingNode:
		n.kind = mapping
		r.pairs(n, y, depth)
	case yaml.SequenceNode:
		n.kind = list
		for _, item := range y.Content {
			n.items = append(n.items, r.convert(item, depth+1))
		}
	default:
		n.kind, n.text = scalar, y.Value
		n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if n.plain && slices.Contains([]string{"", "~", "null", "Null", "NULL"}, y.Value) {
			n.kind = null
		}
	}
	return n
}

// pairs converts a map. As in Ruby, the last of two equal keys counts. What a
// merge key (`<<`) brings gives way to the map's own keys.
func (r *yamlReader) pairs(n *node, y *yaml.Node, depth int) {
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			r.err = refused("%s:%d: a key must be a single word, not a list or a map", r.file, key.Line)
			return
		case key.Value == "<<" && key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0:
			source := r.convert(value, depth+1)
			merged = append(merged, many(source)...)
			continue
		}
		n.remove(key.Value)
		n.pairs = append(n.pairs, pair{key: key.Value, line: key.Line, value: r.convert(value, depth+1)})
	}
	for _, source := range merged {
		for _, inherited := range source.pairs {
			if n.get(inherited.key) == nil {
				n.pairs = append(n.pairs, inherited)
			}
		}
	}
}

// words makes a scalar of kstep's from text; plain is for numbers and booleans.
func words(s string, at *node, plain bool) *node {
	n := &node{kind: scalar, text: s, plain: plain}
	if at != nil {
		n.file, n.line = at.file, at.line
	}
	return n
}

func listOf(at *node, items ...*node) *node {
	n := &node{kind: list, items: items}
	if at != nil {
		n.file, n.line = at.file, at.line
	}
	return n
}

func texts(at *node, all ...string) *node {
	n := listOf(at)
	for _, s := range all {
		n.items = append(n.items, words(s, at, false))
	}
	return n
}

func place(n *node) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", n.file, n.line)
}
