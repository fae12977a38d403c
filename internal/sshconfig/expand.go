package sshconfig

import (
	"crypto/sha1" //nolint:gosec // The token %C is defined by it; it protects nothing.
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// tokens are what stands for `%` and a letter.
type tokens struct {
	of  map[byte]string
	env func(string) (string, bool)
}

// tokens are those of most keywords, as far as they are known by now.
func (e *evaluation) tokens() tokens {
	m := e.c.machine
	host, jump := e.hostName(), ""
	if v, ok := e.values["proxyjump"]; ok && !isNone(v.Args[0]) {
		_, jump = cutUser(v.Args[len(v.Args)-1])
	}
	alias := e.text("hostkeyalias")
	if alias == "" {
		alias = e.to.Host
	}
	short, _, _ := strings.Cut(m.Name, ".")
	portText := e.portText()
	sum := sha1.Sum([]byte(m.Name + host + portText + e.user() + jump)) //nolint:gosec // See above.
	return tokens{env: m.Env, of: map[byte]string{
		'C': hex.EncodeToString(sum[:]), 'L': short, 'd': m.Home, 'h': host, 'i': m.UID, 'j': jump, 'k': alias,
		'l': m.Name, 'n': e.to.Host, 'p': portText, 'r': e.user(), 'u': m.User,
	}}
}

// only are the tokens that some keywords allow.
func (t tokens) only(letters string) tokens {
	fewer := tokens{env: t.env, of: map[byte]string{}}
	for i := range len(letters) {
		fewer.of[letters[i]] = t.of[letters[i]]
	}
	return fewer
}

// expand replaces tokens, and `${VARIABLE}` if variables is set.
func (t tokens) expand(s string, variables bool) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case variables && strings.HasPrefix(s[i:], "${"):
			name, _, closed := strings.Cut(s[i+2:], "}")
			if !closed || name == "" {
				return "", fmt.Errorf("%q names no variable", s[i:])
			}
			value, set := t.env(name)
			if !set {
				return "", fmt.Errorf("the environment has no %s", name)
			}
			b.WriteString(value)
			i += len(name) + 2
		case s[i] != '%':
			b.WriteByte(s[i])
		case i+1 == len(s):
			return "", errors.New("a single % stands at the end: write %%")
		default:
			i++
			value, known := t.of[s[i]]
			if s[i] == '%' {
				value, known = "%", true
			}
			if !known {
				return "", fmt.Errorf("the token %%%c is not known here", s[i])
			}
			b.WriteString(value)
		}
	}
	return b.String(), nil
}

// cutUser splits `user@host:port` as far as %j needs it.
func cutUser(entry string) (user, host string) {
	entry = strings.TrimPrefix(entry, "ssh://")
	if at := strings.LastIndex(entry, "@"); at >= 0 {
		user, entry = entry[:at], entry[at+1:]
	}
	if rest, ok := strings.CutPrefix(entry, "["); ok {
		host, _, _ = strings.Cut(rest, "]")
		return user, host
	}
	if strings.Count(entry, ":") == 1 {
		entry, _, _ = strings.Cut(entry, ":")
	}
	return user, entry
}
