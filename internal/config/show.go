package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Show is the effective configuration as YAML: merged, with variables and
// defaults filled in, with names of secrets but never their values. Loading it
// gives an equal Config.
func (c *Config) Show() ([]byte, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	w := yamlWriter{d: d, verbatim: map[string]bool{}}
	c.eachEnv(func(segs []string, env *Env) {
		for name := range env.sources {
			w.verbatim[strings.Join(segs, "\x00")+"\x00clear\x00"+name] = true
		}
	})
	root, err := w.value("")
	if err != nil {
		return nil, err
	}
	return yaml.Dump(root, yaml.WithLineWidth(-1))
}

// yamlWriter turns JSON into YAML nodes, keeping the order of keys.
type yamlWriter struct {
	d        *json.Decoder
	verbatim map[string]bool // Places whose text is already in the file's notation.
}

func (w yamlWriter) value(place string) (*yaml.Node, error) {
	token, err := w.d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return w.object(place)
		}
		return w.array(place)
	case string:
		if !w.verbatim[place] {
			t = escape(t)
		}
		return textNode(t), nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(t)}, nil
	}
}

func (w yamlWriter) object(place string) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for w.d.More() {
		key, err := w.d.Token()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprint(key)
		value, err := w.value(strings.TrimPrefix(place+"\x00"+name, "\x00"))
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, textNode(name), value)
	}
	_, err := w.d.Token()
	return n, err
}

func (w yamlWriter) array(place string) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for w.d.More() {
		item, err := w.value(place + "\x00-")
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, item)
	}
	_, err := w.d.Token()
	return n, err
}

// textNode is quoted where it would be taken for something else.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsAny(s, "\n\r\t\u0085\u2028\u2029\ufeff") {
		// The block forms cannot hold every text with line breaks and blanks.
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
