package kamal

import (
	"regexp"
	"slices"
	"strings"
)

// expr is an expression of the plain forms: texts and variables of the
// environment, each with an alternative or without.
type expr []part

// part is a text, or a variable with what counts where it is not set.
type part struct {
	literal string
	name    string
	other   *expr // Nil: no alternative.
}

// text is the expression in kstep's notation.
func (e expr) text() string {
	var b strings.Builder
	for i, p := range e {
		if p.name == "" {
			b.WriteString(escape(p.literal, i+1 < len(e)))
			continue
		}
		b.WriteString("${" + p.name)
		if p.other != nil {
			b.WriteString(":-" + p.other.text())
		}
		b.WriteString("}")
	}
	return b.String()
}

// isNestable reports whether the expression can be the default of a variable,
// which ends at the first brace.
func (e expr) isNestable() bool {
	return !slices.ContainsFunc(e, func(p part) bool { return strings.ContainsAny(p.literal, "{}") })
}

// escape writes text so that kstep fills nothing in. before means that a
// variable follows.
func escape(s string, before bool) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] == '$' && (i+1 < len(s) && (s[i+1] == '{' || s[i+1] == '$') || i+1 == len(s) && before) {
			b.WriteByte('$')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

var (
	envName     = regexp.MustCompile(`ENV(?:\.fetch\(|\[)\s*["']([A-Za-z_][A-Za-z0-9_]*)["']`)
	rubyCommand = regexp.MustCompile("(?s)^(?:`([^`]*)`|%x(?:\\(([^)]*)\\)|\\[([^\\]]*)\\]|\\{([^}]*)\\}))((?:\\.(?:strip|chomp|to_s))*)$")
)

// readRuby reads one expression. It understands the plain forms only.
func readRuby(code string, locals map[string]expr) fragment {
	f := fragment{code: code}
	p := &rubyParser{rest: code, locals: locals}
	if e, ok := p.either(); ok && p.blank() == "" {
		f.expr = e
	}
	if m := rubyCommand.FindStringSubmatch(code); m != nil {
		command := strings.TrimSpace(m[1] + m[2] + m[3] + m[4])
		if !strings.Contains(command, "#{") {
			f.command = command
		}
	}
	if len(f.expr) == 1 {
		f.env = f.expr[0].name
	}
	return f
}

type rubyParser struct {
	rest   string
	locals map[string]expr
	depth  int
}

func (p *rubyParser) blank() string {
	p.rest = strings.TrimLeft(p.rest, " \t\n")
	return p.rest
}

func (p *rubyParser) take(s string) bool {
	if strings.HasPrefix(p.blank(), s) {
		p.rest = p.rest[len(s):]
		return true
	}
	return false
}

// either reads `a || b || c`.
func (p *rubyParser) either() (expr, bool) {
	if p.depth++; p.depth > 20 {
		return nil, false
	}
	defer func() { p.depth-- }()
	first, ok := p.sum()
	if !ok || !p.take("||") {
		return first, ok
	}
	other, ok := p.either()
	if !ok {
		return nil, false
	}
	return withDefault(first, other)
}

// sum reads `a + b`.
func (p *rubyParser) sum() (expr, bool) {
	e, ok := p.value()
	for ok && p.take("+") {
		var more expr
		more, ok = p.value()
		e = append(slices.Clip(e), more...)
	}
	return e, ok
}

// withDefault puts an alternative to the only variable of an expression; one
// that has an alternative already, or is text, needs none.
func withDefault(e, other expr) (expr, bool) {
	if !other.isNestable() {
		return nil, false
	}
	if len(e) != 1 || e[0].name == "" {
		return e, true
	}
	if e[0].other == nil {
		return expr{{name: e[0].name, other: &other}}, true
	}
	inner := *e[0].other
	if len(inner) == 0 {
		return e, true // ENV.fetch("X", "") is a text, and true in Ruby.
	}
	deeper, ok := withDefault(inner, other)
	return expr{{name: e[0].name, other: &deeper}}, ok
}

var (
	harmless   = regexp.MustCompile(`^\.(strip|chomp|to_s|to_i|freeze|to_str)(\(\))?`)
	identifier = regexp.MustCompile(`^[a-z_][A-Za-z0-9_]*`)
	numeral    = regexp.MustCompile(`^[0-9][0-9_]*(\.[0-9]+)?`)
)

func (p *rubyParser) value() (expr, bool) {
	e, ok := p.primary()
	for ok {
		m := harmless.FindString(p.rest)
		if m == "" {
			break
		}
		p.rest = p.rest[len(m):]
	}
	return e, ok
}

func (p *rubyParser) primary() (expr, bool) {
	switch {
	case p.take("("):
		e, ok := p.either()
		return e, ok && p.take(")")
	case p.take("ENV["):
		name, ok := p.name()
		return expr{{name: name}}, ok && p.take("]")
	case p.take("ENV.fetch("):
		return p.fetch()
	case strings.HasPrefix(p.rest, `"`) || strings.HasPrefix(p.rest, "'"):
		return p.quoted()
	}
	if n := numeral.FindString(p.rest); n != "" {
		p.rest = p.rest[len(n):]
		return expr{{literal: strings.ReplaceAll(n, "_", "")}}, true
	}
	word := identifier.FindString(p.rest)
	p.rest = p.rest[len(word):]
	switch word {
	case "":
		return nil, false
	case "true", "false":
		return expr{{literal: word}}, true
	case "nil":
		return expr{}, true
	}
	e, known := p.locals[word]
	return e, known
}

// fetch reads the rest of `ENV.fetch("X")`, `ENV.fetch("X", default)` and
// `ENV.fetch("X") { default }`.
func (p *rubyParser) fetch() (expr, bool) {
	name, ok := p.name()
	if !ok {
		return nil, false
	}
	e := expr{{name: name}}
	closing := ")"
	if !p.take(",") {
		if !p.take(")") {
			return nil, false
		}
		if !p.take("{") {
			return e, true
		}
		closing = "}"
	}
	other, ok := p.either()
	if !ok || !p.take(closing) || !other.isNestable() {
		return nil, false
	}
	e[0].other = &other
	return e, true
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (p *rubyParser) name() (string, bool) {
	p.blank()
	e, ok := p.quoted()
	if !ok || len(e) != 1 || !variableName.MatchString(e[0].literal) {
		return "", false
	}
	return e[0].literal, true
}

// quoted reads a text in quotes; double quotes may hold `#{…}`.
func (p *rubyParser) quoted() (expr, bool) {
	if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\'' {
		return nil, false
	}
	quote := p.rest[0]
	p.rest = p.rest[1:]
	e := expr{}
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			e = append(e, part{literal: b.String()})
			b.Reset()
		}
	}
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == quote:
			p.rest = p.rest[1:]
			flush()
			return e, true
		case c == '\\':
			if len(p.rest) < 2 || !strings.ContainsRune(`\"'`, rune(p.rest[1])) {
				return nil, false
			}
			b.WriteByte(p.rest[1])
			p.rest = p.rest[2:]
		case quote == '"' && strings.HasPrefix(p.rest, "#{"):
			flush()
			p.rest = p.rest[2:]
			inner, ok := p.either()
			if !ok || !p.take("}") {
				return nil, false
			}
			e = append(e, inner...)
		default:
			b.WriteByte(c)
			p.rest = p.rest[1:]
		}
	}
	return nil, false
}
