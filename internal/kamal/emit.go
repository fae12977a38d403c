package kamal

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// emit writes a tree as YAML, in block style, with quotes where a reader of YAML
// 1.1 or 1.2 would take a text for something else.
func emit(n *node, from string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made from %s by `kstep import kamal`.\n", from)
	if len(n.pairs) == 0 {
		b.WriteString("{}\n")
	}
	after := false
	for i, p := range n.pairs {
		value := p.value
		if p.key == "servers" {
			value = shortRoles(value)
		}
		if i > 0 && (isBlock(value) || after) {
			b.WriteString("\n")
		}
		after = isBlock(value)
		emitPair(&b, p.key, value, 0)
	}
	return []byte(b.String())
}

// shortRoles writes a role that has nothing but hosts as a list.
func shortRoles(servers *node) *node {
	short := *servers
	short.pairs = nil
	for _, p := range servers.pairs {
		if hosts := p.value.get("hosts"); hosts != nil && hosts.kind == list && len(p.value.pairs) == 1 {
			p.value = hosts
		}
		short.pairs = append(short.pairs, p)
	}
	return &short
}

func isBlock(n *node) bool { return len(n.pairs)+len(n.items) > 0 }

func emitPair(b *strings.Builder, key string, value *node, depth int) {
	b.WriteString(strings.Repeat("  ", depth) + quoted(key) + ":")
	emitValue(b, value, depth)
}

// emitValue writes what stands behind a key or a dash.
func emitValue(b *strings.Builder, n *node, depth int) {
	indent := strings.Repeat("  ", depth+1)
	switch {
	case n.kind == null:
		b.WriteString(" null\n")
	case n.kind == scalar:
		b.WriteString(" " + scalarText(n) + "\n")
	case n.kind == mapping && len(n.pairs) == 0:
		b.WriteString(" {}\n")
	case n.kind == list && len(n.items) == 0:
		b.WriteString(" []\n")
	case n.kind == mapping:
		b.WriteString("\n")
		for _, p := range n.pairs {
			emitPair(b, p.key, p.value, depth+1)
		}
	default:
		b.WriteString("\n")
		for _, item := range n.items {
			b.WriteString(indent + "-")
			if item.kind == mapping && len(item.pairs) > 0 {
				for i, p := range item.pairs {
					if i == 0 {
						b.WriteString(" " + quoted(p.key) + ":")
						emitValue(b, p.value, depth+2)
						continue
					}
					emitPair(b, p.key, p.value, depth+2)
				}
				continue
			}
			emitValue(b, item, depth+1)
		}
	}
}

func scalarText(n *node) string {
	if n.plain && isSafe(n.text) {
		return n.text
	}
	return quoted(n.text)
}

var (
	looksTyped = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|~|[-+]?[0-9][0-9_,]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|[-+]?[0-9_]+(:[0-9_.]+)+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|[-+]?\.[0-9_]+|[-+]?\.(inf|nan)|0[xob][0-9a-f_]+|<<|=)$`)
	safe       = regexp.MustCompile(`^[A-Za-z0-9_./$~(][ -~]*$`)
)

func isSafe(s string) bool {
	return safe.MatchString(s) && !strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " ")
}

// quoted is a text, in double quotes where it needs them.
func quoted(s string) string {
	if isSafe(s) && !looksTyped.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == utf8.RuneError || 0xe000 <= r && r <= 0xf8ff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
