package sshconfig

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are what the files say for one destination.
type Settings struct {
	Host     string // Where to connect.
	User     string
	Port     int
	Warnings []Warning

	values map[string]Value
}

// Value returns the value of a keyword, whose name is in lower case. A value
// of `none` is one too.
func (s *Settings) Value(keyword string) (Value, bool) {
	v, ok := s.values[keyword]
	return v, ok
}

// List is the expanded arguments of a keyword; `none` is an empty list. given
// says that the files have one.
func (s *Settings) List(keyword string) (list []string, given bool) {
	v, ok := s.values[keyword]
	if !ok || len(v.Args) == 1 && isNone(v.Args[0]) {
		return nil, ok
	}
	return v.Expanded, true
}

// Text is the expanded first argument of a keyword, or empty.
func (s *Settings) Text(keyword string) string {
	if v, ok := s.values[keyword]; ok {
		return v.Expanded[0]
	}
	return ""
}

// Number is the number of a keyword. given says that the files have one.
func (s *Settings) Number(keyword string) (n int, given bool) {
	n, err := strconv.Atoi(s.Text(keyword))
	return n, err == nil
}

// Duration is the time of a keyword, or zero.
func (s *Settings) Duration(keyword string) time.Duration {
	d, _ := parseTime(s.Text(keyword)) // It was checked.
	return d
}

// text is the first argument of a keyword as it is written, or empty.
func (e *evaluation) text(key string) string {
	if v, ok := e.values[key]; ok {
		return v.Args[0]
	}
	return ""
}

func (e *evaluation) user() string {
	return cmp.Or(e.to.User, e.text("user"), e.to.DefaultUser, e.c.machine.User)
}

func (e *evaluation) portText() string {
	if e.to.Port != 0 {
		return strconv.Itoa(e.to.Port)
	}
	return cmp.Or(e.text("port"), strconv.Itoa(cmp.Or(e.to.DefaultPort, 22)))
}

// hostName is where to connect, as far as it is known by now.
func (e *evaluation) hostName() string {
	name := e.to.Host
	if v, ok := e.values["hostname"]; ok {
		if e.final {
			return v.Args[0]
		}
		if expanded, err := e.expandHostName(v); err == nil {
			name = expanded
		}
	}
	if _, err := netip.ParseAddr(name); err != nil {
		name = strings.ToLower(name)
	}
	return name
}

func (e *evaluation) expandHostName(v Value) (string, error) {
	return tokens{of: map[byte]string{'h': e.to.Host}}.expand(v.Args[0], false)
}

// canonicalize decides whether the files are to be read again. Names are not
// looked up in CanonicalDomains: where that would be done, it is an error.
func (e *evaluation) canonicalize() error {
	if v, ok := e.values["hostname"]; ok {
		if _, err := e.expandHostName(v); err != nil {
			return &Error{File: v.File, Line: v.Line, Err: errors.New("HostName: " + err.Error())}
		}
	}
	mode := e.values["canonicalizehostname"]
	on := len(mode.Args) > 0 && mode.Args[0] != "no"
	e.wantFinal = e.wantFinal || on
	direct := cmp.Or(e.text("proxycommand"), "none") == "none" && cmp.Or(e.text("proxyjump"), "none") == "none"
	if !direct && e.text("canonicalizehostname") != "always" {
		return nil
	}
	host := e.hostName()
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	hint := "write the full name of the host: HostName in ssh_config, or in kstep.yml"
	dots, _ := strconv.Atoi(cmp.Or(e.text("canonicalizemaxdots"), "1"))
	if on && cmp.Or(e.text("canonicaldomains"), "none") != "none" && strings.Count(host, ".") <= dots {
		return &Error{File: mode.File, Line: mode.Line, Err: errors.New("CanonicalizeHostname is not supported"), Hint: hint}
	}
	if names := e.values["canonicalizepermittedcnames"]; len(names.Args) > 0 && !isNone(names.Args[0]) {
		return &Error{File: names.File, Line: names.Line, Err: errors.New("CanonicalizePermittedCNAMEs is not supported"), Hint: hint}
	}
	return nil
}

// settings expands what the files said.
func (e *evaluation) settings() (*Settings, error) {
	s := &Settings{Host: e.hostName(), Warnings: e.warnings, values: map[string]Value{}}
	all := e.tokens()
	if v, ok := e.values["user"]; ok && e.to.User == "" {
		expanded, err := all.only("Ldhijklnpu").expand(v.Args[0], true)
		if err != nil {
			return nil, &Error{File: v.File, Line: v.Line, Err: errors.New("User: " + err.Error())}
		}
		v.Args = []string{expanded}
		e.values["user"] = v
		all = e.tokens()
	}
	s.User = e.user()
	s.Port, _ = strconv.Atoi(e.portText()) // It was checked.
	for key, v := range e.values {
		v.Expanded = slices.Clone(v.Args)
		for i, arg := range v.Args {
			expanded, err := e.expand(e.c.keywords[key], arg, all)
			if err != nil {
				return nil, &Error{File: v.File, Line: v.Line, Err: errors.New(v.Keyword + ": " + err.Error())}
			}
			v.Expanded[i] = expanded
		}
		s.values[key] = v
	}
	return s, nil
}

// expand replaces in one argument what its keyword allows.
func (e *evaluation) expand(k keyword, arg string, all tokens) (string, error) {
	switch {
	case isNone(arg):
		return arg, nil
	case k.expansion == proxy:
		return all.only("hknpr").expand(arg, false)
	case k.form == socket && strings.HasPrefix(arg, "$") && !strings.HasPrefix(arg, "${"):
		value, _ := all.env(arg[1:]) // Without one there is no agent.
		return value, nil
	case k.form == socket && arg == "SSH_AUTH_SOCK":
		value, _ := all.env(arg)
		return value, nil
	case k.expansion == tilde:
		return e.c.machine.home(arg)
	case k.expansion == path:
		file, err := e.c.machine.home(arg)
		if err != nil {
			return "", err
		}
		return all.expand(file, true)
	}
	return arg, nil
}
