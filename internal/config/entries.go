package config

import (
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/exit"
)

// HostEntry is a place where the configuration names a host.
type HostEntry struct {
	Name string
	File string
	Line int // From 1.
	// Column is from 1.
	Column int
	Path   string // Such as `servers.web.hosts[1]`.
}

// hostEntries are all of them, in the order of the file: roles first.
func hostEntries(tree *node) []HostEntry {
	var all []HostEntry
	for _, places := range []string{"servers.*.hosts.*", "accessories.*.host accessories.*.hosts.*"} {
		tree.walk(func(segs []string, n *node) {
			if !among(places, segs) {
				return
			}
			e := HostEntry{Name: n.text, File: n.at.file, Line: n.at.line, Column: n.at.column, Path: n.path}
			if n.kind == mapping && len(n.pairs) == 1 { // With its tags.
				e.Name, e.Line, e.Column = n.pairs[0].key, n.pairs[0].at.line, n.pairs[0].at.column
			}
			if e.Name != "" {
				all = append(all, e)
			}
		})
	}
	return all
}

// EveryHost are the hosts of all roles and accessories, each once, in the order
// of the file.
func (c *Config) EveryHost() []string {
	hosts := c.Hosts()
	for _, a := range c.Accessories.All {
		for _, h := range c.AccessoryHosts(a) {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts
}

// Names reports whether the configuration names the host.
func (c *Config) Names(host string) bool { return slices.Contains(c.EveryHost(), host) }

// Twins are two host entries that are one machine. Why says what shows it.
type Twins struct{ One, Other, Why string }

// OneMachine is the error of host entries that are one machine, nil if there are
// none.
func (c *Config) OneMachine(all ...Twins) error {
	if len(all) == 0 {
		return nil
	}
	hosts := c.EveryHost()
	var problems Errors
	var hints []string
	for _, t := range all {
		if slices.Index(hosts, t.Other) < slices.Index(hosts, t.One) {
			t.One, t.Other = t.Other, t.One // The later one is to be changed.
		}
		problem := Problem{File: c.Path, Message: fmt.Sprintf("%s is the same machine as %s%s: %s", t.Other, t.One, c.placeOf(t.One), t.Why)}
		if e, found := c.entry(t.Other); found {
			problem.File, problem.Line, problem.Column, problem.Path = e.File, e.Line, e.Column, e.Path
		}
		problems = append(problems, problem)
		hints = append(hints, fmt.Sprintf("give a machine one name in all roles and accessories: write %s instead of %s", t.One, t.Other))
	}
	return exit.With(exit.Config, problems.sorted(c.Path), hints...)
}

func (c *Config) entry(name string) (HostEntry, bool) {
	at := slices.IndexFunc(c.Entries, func(e HostEntry) bool { return e.Name == name })
	if at < 0 {
		return HostEntry{}, false
	}
	return c.Entries[at], true
}

// placeOf is where a host is named first, in parentheses.
func (c *Config) placeOf(name string) string {
	e, found := c.entry(name)
	if !found {
		return ""
	}
	return fmt.Sprintf(" (%s:%d:%d: %s)", e.File, e.Line, e.Column, e.Path)
}
