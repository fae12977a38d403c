package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Limits that no honest file meets; they keep nested aliases from growing
// without end.
const (
	maxDepth = 60
	maxNodes = 50_000
)

// parse reads one YAML document into a tree. Only this file and show.go know
// the YAML library.
func parse(data []byte, file string) (*node, Errors) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, syntaxError(file, data, err)
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, Errors{{File: file, Message: "is empty"}}
	case err != nil:
		return nil, syntaxError(file, data, err)
	}
	p := &parser{file: file}
	var more yaml.Node
	if err := loader.Load(&more); err == nil {
		p.complain(&more, "a second document; everything has to be in the first one")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(file, data, err)
	}
	root := p.convert(doc.Content[0], 0)
	if root.isNull() {
		return nil, Errors{{File: file, Message: "is empty"}}
	}
	if root.kind != mapping {
		p.complain(doc.Content[0], "must be a map of keys such as `service: shop`")
		return nil, p.problems
	}
	return root, p.problems
}

func syntaxError(file string, data []byte, err error) Errors {
	problem := Problem{File: file, Message: "not valid YAML: " + err.Error()}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		problem.Line, problem.Column = e.Mark.Line, e.Mark.Column
		problem.Message = "not valid YAML: " + e.Message
		lines := bytes.Split(data, []byte("\n"))
		if i := e.Mark.Line - 1; i >= 0 && i < len(lines) {
			switch {
			case bytes.HasPrefix(bytes.TrimLeft(lines[i], " "), []byte("\t")):
				problem.Message += "; indent with spaces, not tabs"
			case bytes.Contains(lines[i], []byte("${")):
				problem.Message += "; within { } and [ ] put ${…} in quotes"
			}
		}
	}
	return Errors{problem}
}

type parser struct {
	file     string
	nodes    int
	full     bool
	problems Errors
}

func (p *parser) complain(n *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, Problem{
		File: p.file, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...),
	})
}

func (p *parser) convert(y *yaml.Node, depth int) *node {
	n := &node{at: position{p.file, y.Line, y.Column}, plain: true}
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		if !p.full {
			p.full = true
			p.complain(y, "nested too deeply, or aliases make too much of it")
		}
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		target := p.convert(y.Alias, depth+1)
		target.at = n.at // Point to where the alias is used.
		return target
	case yaml.MappingNode:
		n.kind = mapping
		p.checkTag(y, "!!map")
		p.pairs(n, y, depth)
	case yaml.SequenceNode:
		n.kind = list
		p.checkTag(y, "!!seq")
		for _, item := range y.Content {
			n.items = append(n.items, p.convert(item, depth+1))
		}
	default:
		n.text = y.Value
		n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if y.Style&yaml.TaggedStyle != 0 {
			n.plain = y.Tag != "!!str"
			p.checkTag(y, "!!str", "!!int", "!!float", "!!bool", "!!null")
		}
	}
	return n
}

func (p *parser) checkTag(y *yaml.Node, known ...string) {
	if y.Style&yaml.TaggedStyle == 0 {
		return
	}
	if slices.Contains(known, y.Tag) {
		return
	}
	p.complain(y, "YAML tag %s is not supported", y.Tag)
}

// pairs converts a mapping's entries; those that a merge key (`<<`) brings
// give way to the mapping's own.
func (p *parser) pairs(n *node, y *yaml.Node, depth int) {
	var merged []*node
	seen := map[string]int{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			p.complain(key, "a key must be a single word, not a list or a map")
			continue
		case key.Tag == "!!merge":
			merged = append(merged, p.sources(value, depth)...)
			continue
		}
		if first, twice := seen[key.Value]; twice {
			p.complain(key, "key %q is given twice; first on line %d", key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		n.pairs = append(n.pairs, pair{
			key: key.Value, at: position{p.file, key.Line, key.Column}, value: p.convert(value, depth+1),
		})
	}
	for _, source := range merged {
		for _, inherited := range source.pairs {
			if n.get(inherited.key) == nil {
				n.pairs = append(n.pairs, inherited)
			}
		}
	}
}

// sources are the mappings that a merge key names.
func (p *parser) sources(value *yaml.Node, depth int) []*node {
	source := p.convert(value, depth+1)
	all := []*node{source}
	if source.kind == list {
		all = source.items
	}
	for _, s := range all {
		if s.kind != mapping {
			p.complain(value, "`<<` takes a map, or a list of maps")
			return nil
		}
	}
	return all
}
