package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxExpanded bounds one value after variables are filled in.
const maxExpanded = 1 << 20

// interpolate fills variables into every scalar value, except under the
// top-level x- keys, which mean nothing to kstep.
func (c *checker) interpolate(env func(string) (string, bool)) {
	c.tree.walk(func(segs []string, n *node) {
		if n.kind != scalar || !strings.Contains(n.text, "$") || strings.HasPrefix(segs[0], "x-") {
			return
		}
		e := expansion{env: env}
		out, err := e.expand(n.text, 0)
		if err == nil && !utf8.ValidString(out) {
			err = fmt.Errorf("the value of %s is not valid UTF-8", strings.Join(e.vars, " or "))
		}
		if err == nil && len(out) > maxExpanded {
			err = errors.New("is longer than 1 MB with its variables filled in")
		}
		if err != nil {
			c.add(segs, false, err.Error())
			c.broken = append(c.broken, segs)
			out = ""
		}
		n.raw, n.text, n.vars = n.text, out, e.vars
	})
}

type expansion struct {
	env  func(string) (string, bool)
	vars []string // Looked at so far, set or not.
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// expand fills in ${VAR}, ${VAR:-default} and ${VAR:?message}; $$ is a dollar
// sign, and so is a $ before anything else. A default may hold variables.
func (e *expansion) expand(text string, depth int) (string, error) {
	if depth > 10 {
		return "", errors.New("${…} is nested too deeply")
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "{"):
			end := closing(rest)
			if end < 0 {
				return "", errors.New("${ without }; write $$ for a dollar sign")
			}
			value, err := e.variable(rest[1:end], depth)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = rest[end+1:]
		default:
			b.WriteByte('$')
			text = rest
		}
		if b.Len() > maxExpanded {
			return b.String(), nil // The caller refuses it.
		}
	}
}

// closing is the index of the brace that ends the one text begins with.
func closing(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '$' && i+1 < len(text) && text[i+1] == '{':
			depth++
			i++
		case text[i] == '{' && i == 0:
			depth++
		case text[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (e *expansion) variable(body string, depth int) (string, error) {
	name := variableName.FindString(body)
	operator := body[len(name):]
	if name == "" {
		return "", fmt.Errorf("${%s} has no variable name; write $${ for a plain ${", body)
	}
	if !slices.Contains(e.vars, name) {
		e.vars = append(e.vars, name)
	}
	value, set := e.env(name)
	switch {
	case operator == "":
		if !set {
			return "", fmt.Errorf("variable %s is not set; set it, or write ${%s:-default}", name, name)
		}
		return value, nil
	case strings.HasPrefix(operator, ":-"):
		if value != "" {
			return value, nil
		}
		return e.expand(operator[2:], depth+1)
	case strings.HasPrefix(operator, ":?"):
		if value != "" {
			return value, nil
		}
		if message := strings.TrimSpace(operator[2:]); message != "" {
			return "", fmt.Errorf("variable %s is not set: %s", name, message)
		}
		return "", fmt.Errorf("variable %s is not set", name)
	default:
		return "", fmt.Errorf("${%s} is not understood; known are ${%s}, ${%s:-default} and ${%s:?message}", body, name, name, name)
	}
}

// escape is the text that interpolation turns into value.
func escape(value string) string { return strings.ReplaceAll(value, "$", "$$") }

// VariableUse is a value outside of environments that variables are filled into.
type VariableUse struct {
	File string
	Line int
	Key  string
	// Names are those of the variables, in order; what they hold is not kept.
	Names []string
}

// variableUses are in the order of the files.
func variableUses(tree *node) []VariableUse {
	var uses []VariableUse
	tree.walk(func(segs []string, n *node) {
		if len(n.vars) == 0 || isClear(segs) {
			return
		}
		use := VariableUse{File: n.at.file, Line: n.at.line, Key: n.path, Names: n.vars}
		same := func(o VariableUse) bool { return o.File == use.File && o.Line == use.Line && o.Key == use.Key }
		if !slices.ContainsFunc(uses, same) { // A shorthand may stand for several values.
			uses = append(uses, use)
		}
	})
	slices.SortStableFunc(uses, func(a, b VariableUse) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, strings.Compare(a.Key, b.Key))
	})
	return uses
}
