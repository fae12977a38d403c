package hosttest

import (
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
)

// matcher is a rule of a router, or a part of one.
type matcher func(*http.Request) bool

// parseRule reads what kstep writes and some more: Host, HostRegexp, Path,
// PathPrefix, &&, ||, ! and parentheses.
func parseRule(text string) (matcher, error) {
	p := &ruleParser{rest: text}
	m, err := p.either()
	if err == nil && p.next() != "" {
		err = fmt.Errorf("unexpected %q in rule %q", p.rest, text)
	}
	return m, err
}

type ruleParser struct{ rest string }

func (p *ruleParser) next() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	return p.rest
}

func (p *ruleParser) take(token string) bool {
	rest, ok := strings.CutPrefix(p.next(), token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *ruleParser) either() (matcher, error) {
	left, err := p.both()
	for err == nil && p.take("||") {
		var right matcher
		before := left
		right, err = p.both()
		left = func(r *http.Request) bool { return before(r) || right(r) }
	}
	return left, err
}

func (p *ruleParser) both() (matcher, error) {
	left, err := p.one()
	for err == nil && p.take("&&") {
		var right matcher
		before := left
		right, err = p.one()
		left = func(r *http.Request) bool { return before(r) && right(r) }
	}
	return left, err
}

var ruleCall = regexp.MustCompile("^(Host|HostRegexp|Path|PathPrefix)\\(`([^`]*)`\\)")

func (p *ruleParser) one() (matcher, error) {
	if p.take("!") {
		m, err := p.one()
		return func(r *http.Request) bool { return !m(r) }, err
	}
	if p.take("(") {
		m, err := p.either()
		if err == nil && !p.take(")") {
			err = fmt.Errorf("no ) at %q", p.rest)
		}
		return m, err
	}
	call := ruleCall.FindStringSubmatch(p.next())
	if call == nil {
		return nil, fmt.Errorf("no matcher at %q", p.rest)
	}
	p.rest = p.rest[len(call[0]):]
	return match(call[1], call[2])
}

func match(name, value string) (matcher, error) {
	switch name {
	case "Host":
		want := strings.ToLower(value)
		return func(r *http.Request) bool { return strings.TrimSuffix(askedHost(r), ".") == want }, nil
	case "HostRegexp":
		re, err := regexp.Compile(value)
		return func(r *http.Request) bool { return re.MatchString(askedHost(r)) }, err
	case "Path":
		return func(r *http.Request) bool { return askedPath(r) == value }, nil
	default:
		return func(r *http.Request) bool { return strings.HasPrefix(askedPath(r), value) }, nil
	}
}

// askedHost is the request's host name, without its port.
func askedHost(r *http.Request) string {
	host, _, _ := strings.Cut(r.Host, ":")
	return strings.ToLower(host)
}

// askedPath is the request's path, which Traefik cleans.
func askedPath(r *http.Request) string {
	cleaned := path.Clean("/" + r.URL.Path)
	if strings.HasSuffix(r.URL.Path, "/") && cleaned != "/" {
		cleaned += "/"
	}
	return cleaned
}
