package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is the shape of a node.
type kind int

const (
	scalar kind = iota
	list
	mapping
)

// position is where a node stands in which file.
type position struct {
	file         string
	line, column int
}

// node is a YAML value that remembers where it was written. It stays the same
// while files are merged, variables filled in and shorthands spelled out.
type node struct {
	kind  kind
	at    position
	path  string // As the user wrote it, set once the files are merged.
	pairs []pair // Of a mapping, in the order of the file.
	items []*node

	text  string // Of a scalar.
	plain bool   // Written without quotes, so it may be a number, a boolean or null.

	vars []string // Variables that were filled in.
	raw  string   // The text before they were.
}

type pair struct {
	key   string
	at    position // Of the key.
	path  string
	value *node
}

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

func (n *node) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return n.get(k) != nil })
}

// set replaces a value, or adds it.
func (n *node) set(key string, at position, value *node) {
	for i, p := range n.pairs {
		if p.key == key {
			n.pairs[i].value, n.pairs[i].at = value, at
			return
		}
	}
	n.pairs = append(n.pairs, pair{key: key, at: at, value: value})
}

func (n *node) remove(key string) {
	n.pairs = slices.DeleteFunc(n.pairs, func(p pair) bool { return p.key == key })
}

// scalarType is what a scalar means.
type scalarType int

const (
	text scalarType = iota
	number
	boolean
	null
)

// numberSyntax is JSON's. What only YAML 1.1 takes for a number (0777, 1_000,
// 0x1f) is text: in a port it is an error instead of a surprise, and in an
// environment it arrives as written.
var numberSyntax = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// scalarType resolves plain scalars as JSON would: yes, no, on, off and True
// are text.
func (n *node) scalarType() scalarType {
	if !n.plain {
		return text
	}
	switch n.text {
	case "true", "false":
		return boolean
	case "", "~", "null", "Null", "NULL":
		if n.vars != nil { // An empty variable is an empty text.
			return text
		}
		return null
	}
	// Longer ones are no number that any key takes, and some readers choke.
	if len(n.text) <= 20 && numberSyntax.MatchString(n.text) {
		return number
	}
	return text
}

func (n *node) isNull() bool { return n.kind == scalar && n.scalarType() == null }

// walk visits every node with the keys and indexes that lead to it.
func (n *node) walk(visit func(segs []string, n *node)) {
	var down func(segs []string, n *node)
	down = func(segs []string, n *node) {
		visit(segs, n)
		for _, p := range n.pairs {
			down(append(slices.Clip(segs), p.key), p.value)
		}
		for i, item := range n.items {
			down(append(slices.Clip(segs), strconv.Itoa(i)), item)
		}
	}
	down(nil, n)
}

// json is the tree as JSON. Scalars in free-form maps and a few others are
// text exactly as they were written.
func (n *node) json() []byte {
	var b []byte
	var write func(segs []string, n *node)
	write = func(segs []string, n *node) {
		switch n.kind {
		case mapping:
			b = append(b, '{')
			for i, p := range n.pairs {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(appendString(b, p.key), ':')
				write(append(slices.Clip(segs), p.key), p.value)
			}
			b = append(b, '}')
		case list:
			b = append(b, '[')
			for i, item := range n.items {
				if i > 0 {
					b = append(b, ',')
				}
				write(append(slices.Clip(segs), strconv.Itoa(i)), item)
			}
			b = append(b, ']')
		case scalar:
			switch t := n.scalarType(); {
			case t == null:
				b = append(b, "null"...)
			case t == text || isText(segs):
				b = appendString(b, n.text)
			default:
				b = append(b, n.text...)
			}
		}
	}
	write(nil, n)
	return b
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // A string always marshals.
	return append(b, quoted...)
}

// find is the node at segs, or nil.
func (n *node) find(segs []string) *node {
	for _, seg := range segs {
		switch {
		case n == nil:
			return nil
		case n.kind == list:
			i := index(seg)
			if i < 0 || i >= len(n.items) {
				return nil
			}
			n = n.items[i]
		default:
			n = n.get(seg)
		}
	}
	return n
}

// index reads a list index, -1 if it is none.
func index(seg string) int {
	i, err := strconv.Atoi(seg)
	if err != nil {
		return -1
	}
	return i
}

// compareSegs orders indexes as numbers and keys as text.
func compareSegs(a, b string) int {
	if i, j := index(a), index(b); i >= 0 && j >= 0 {
		return i - j
	}
	return strings.Compare(a, b)
}

// clone copies the tree below n.
func (n *node) clone() *node {
	c := *n
	c.pairs = slices.Clone(n.pairs)
	for i := range c.pairs {
		c.pairs[i].value = c.pairs[i].value.clone()
	}
	c.items = slices.Clone(n.items)
	for i, item := range c.items {
		c.items[i] = item.clone()
	}
	return &c
}
