package config

import (
	"strconv"
	"strings"
)

func (c *checker) minimumVersion(running string) {
	want, ok := parseVersion(c.cfg.MinimumVersion)
	if !ok {
		return // Not given; the schema has refused anything else.
	}
	have, ok := parseVersion(running)
	if ok && have.before(want) {
		c.at([]string{"minimum_version"}, "this kstep is %s; install %s or newer", running, c.cfg.MinimumVersion)
	}
}

// version is a semantic version; pre is set for a prerelease.
type version struct {
	parts [3]int
	pre   bool
}

// parseVersion reads `1.2.3`, with or without a leading v, with parts left
// out, with `-rc.1` and `+build`.
func parseVersion(s string) (version, bool) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "+")
	s, _, pre := strings.Cut(s, "-")
	v := version{pre: pre}
	parts := strings.Split(s, ".")
	if len(parts) > len(v.parts) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return v, false
		}
		v.parts[i] = n
	}
	return v, true
}

func (v version) before(w version) bool {
	for i := range v.parts {
		if v.parts[i] != w.parts[i] {
			return v.parts[i] < w.parts[i]
		}
	}
	return v.pre && !w.pre
}
