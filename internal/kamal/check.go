package kamal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// forms are the trees of the main file and of the destinations, each whole.
type forms struct {
	base     *node
	overlays map[string]*node
	order    []string
	alone    bool
}

// files are kstep.yml and one file for each destination, with what differs.
func (f *forms) files(from string) []File {
	all := []File{{Path: "kstep.yml", Data: emit(f.base, from)}}
	for _, d := range f.order {
		all = append(all, File{Path: destinationFile("kstep.yml", d), Data: emit(difference(f.base, f.overlays[d]), destinationFile(from, d))})
	}
	return all
}

// difference is what has to be merged over base to get want. A key that want
// does not have is null.
func difference(base, want *node) *node {
	d := &node{kind: mapping, file: want.file, line: want.line}
	for _, p := range want.pairs {
		old := base.get(p.key)
		switch {
		case old == nil:
			d.pairs = append(d.pairs, p)
		case old.kind == mapping && p.value.kind == mapping && len(p.value.pairs) > 0:
			if below := difference(old, p.value); len(below.pairs) > 0 {
				d.pairs = append(d.pairs, pair{p.key, p.line, below})
			}
		case !equal(old, p.value):
			d.pairs = append(d.pairs, p)
		}
	}
	for _, p := range base.pairs {
		if want.get(p.key) == nil {
			d.pairs = append(d.pairs, pair{p.key, p.line, &node{kind: null, file: p.value.file, line: p.line}})
		}
	}
	return d
}

// refusal is a value that kstep refuses, and that is left out therefore.
type refusal struct {
	key, why string
	at       *node
}

func (r refusal) entry() Entry {
	danger := Other
	for _, place := range []struct {
		key    string
		danger Danger
	}{{"directories", Data}, {"volumes", Data}, {"files", Data}, {"networks", Networks}, {"proxy", Names}, {"host", Names}} {
		if strings.Contains(r.key, place.key) {
			danger = place.danger
			break
		}
	}
	return Entry{Kind: NotImportable, Key: r.key, File: r.at.file, Line: r.at.line, Text: "is left out, because kstep refuses it: " + r.why, danger: danger}
}

// maxRounds bounds how often values are left out; each round has all problems.
const maxRounds = 12

// settle checks the files as `kstep config validate` does, and leaves out what is
// refused. Where that is something without which there is no deploy, it returns
// an error.
func (f *forms) settle() ([]refusal, error) {
	dir, err := os.MkdirTemp("", "kstep-import-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var left []refusal
	for range maxRounds {
		for _, file := range f.files("Kamal's configuration") {
			if err := os.WriteFile(filepath.Join(dir, file.Path), file.Data, 0o600); err != nil {
				return nil, err
			}
		}
		// A main file that requires a destination, without the file of one, is
		// tried with an empty one.
		const empty = "empty"
		if err := os.WriteFile(filepath.Join(dir, destinationFile("kstep.yml", empty)), []byte("{}\n"), 0o600); err != nil {
			return nil, err
		}
		again := false
		for _, d := range f.targets() {
			destination := d
			if d == "" && text(f.base.get("require_destination")) == "true" {
				destination = empty
			}
			problems, err := load(filepath.Join(dir, "kstep.yml"), destination, f.samples(d))
			if err != nil {
				return nil, refused("the result would not be valid: %w", err)
			}
			for _, p := range problems {
				r, done, err := f.leaveOut(d, p)
				if err != nil {
					return nil, err
				}
				if done {
					again = true
					if r.at != nil {
						left = append(left, r)
					}
				}
			}
		}
		if !again {
			return left, nil
		}
	}
	return nil, refused("the result would not be valid, and leaving out what kstep refuses does not help")
}

// targets are the configurations that are deployed: destinations, and the main
// file with the empty name.
func (f *forms) targets() []string {
	if f.alone {
		return append([]string{""}, f.order...)
	}
	return f.order
}

func (f *forms) tree(destination string) *node {
	if destination == "" {
		return f.base
	}
	return f.overlays[destination]
}

func load(path, destination string, samples map[string]string) (config.Errors, error) {
	_, err := config.Load(config.LoadOptions{Path: path, Destination: destination, Env: func(name string) (string, bool) {
		value, ok := samples[name]
		return value, ok
	}})
	if err == nil {
		return nil, nil
	}
	if problems, ok := errors.AsType[config.Errors](err); ok {
		return problems, nil
	}
	return nil, err
}

// leaveOut removes the value that a problem is about. It does nothing where the
// value depends on a variable.
func (f *forms) leaveOut(destination string, p config.Problem) (r refusal, done bool, err error) {
	segs := segments(p.Path)
	if len(segs) > 2 && segs[0] == "servers" && isIndex(segs[2]) {
		segs = slices.Insert(segs, 2, "hosts")
	}
	tree := f.tree(destination)
	parent, n, depth := reach(tree, segs)
	if n != nil && hasVariable(n) {
		return r, false, nil
	}
	cannot := refused("%s: kstep would refuse the result, and this cannot be left out: %s: %s", placeOfNode(n, tree), p.Path, p.Message)
	switch {
	case n == nil || depth < len(segs):
		return r, false, cannot
	case len(segs) < 2 || segs[0] == "servers" && (len(segs) < 3 || segs[2] == "hosts"):
		return r, false, cannot
	}
	r = refusal{key: p.Path, why: p.Message, at: n}
	last := segs[len(segs)-1]
	if parent.kind == list {
		i, _ := strconv.Atoi(last)
		parent.items = slices.Delete(slices.Clone(parent.items), i, i+1)
		if len(parent.items) == 0 {
			return r, true, f.removeAt(tree, segs[:len(segs)-1])
		}
		return r, true, nil
	}
	parent.remove(last)
	if len(parent.pairs) == 0 && len(segs) > 1 {
		return r, true, f.removeAt(tree, segs[:len(segs)-1])
	}
	return r, true, nil
}

func (f *forms) removeAt(tree *node, segs []string) error {
	if parent, _, _ := reach(tree, segs); parent != nil && parent.kind == mapping {
		parent.remove(segs[len(segs)-1])
	}
	return nil
}

func placeOfNode(n, tree *node) string {
	if n == nil {
		n = tree
	}
	return place(n)
}

// reach finds the value at segs, or the nearest one around it, and its parent.
func reach(n *node, segs []string) (parent, at *node, depth int) {
	at = n
	for i, seg := range segs {
		var next *node
		switch at.kind {
		case mapping:
			next = at.get(seg)
		case list:
			if k, err := strconv.Atoi(seg); err == nil && k < len(at.items) {
				next = at.items[k]
			}
		case null, scalar:
		}
		if next == nil {
			return parent, at, i
		}
		parent, at = at, next
	}
	return parent, at, len(segs)
}

// segments takes a path of a problem apart: `servers.web.options.publish[0]`,
// `proxy.args["a.b"]`.
func segments(path string) []string {
	var segs []string
	for path != "" {
		switch {
		case path[0] == '.':
			path = path[1:]
		case strings.HasPrefix(path, `["`):
			text, err := strconv.QuotedPrefix(path[1:])
			if err != nil {
				return segs
			}
			key, _ := strconv.Unquote(text)
			segs = append(segs, key)
			path = strings.TrimPrefix(path[1+len(text):], "]")
		case path[0] == '[':
			index, rest, _ := strings.Cut(path[1:], "]")
			segs = append(segs, index)
			path = rest
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			segs = append(segs, path[:end])
			path = path[end:]
		}
	}
	return segs
}

func isIndex(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// hasVariable reports whether a variable is filled in, here or below.
func hasVariable(n *node) bool {
	return filledName.MatchString(n.text) ||
		slices.ContainsFunc(n.items, hasVariable) ||
		slices.ContainsFunc(n.pairs, func(p pair) bool { return hasVariable(p.value) })
}

// samples are values for the variables, of the kind that their first place
// takes.
func (f *forms) samples(destination string) map[string]string {
	all := map[string]string{}
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		for _, m := range filledName.FindAllStringSubmatch(n.text, -1) {
			if _, known := all[m[1]]; !known {
				all[m[1]] = sample(path)
			}
		}
		for _, item := range n.items {
			walk(item, path)
		}
		for _, p := range n.pairs {
			walk(p.value, path+"."+p.key)
		}
	}
	walk(f.tree(destination), "")
	return all
}

func sample(path string) string {
	switch {
	case strings.HasPrefix(path, ".proxy.hosts"):
		return "app.example.com"
	case strings.HasPrefix(path, ".servers") && strings.HasSuffix(path, ".hosts"), strings.HasSuffix(path, ".host"):
		return "192.0.2.1"
	case strings.HasSuffix(path, "image"), strings.HasPrefix(path, ".service"), strings.HasSuffix(path, ".server"):
		return "app"
	case strings.Contains(path, "volumes"), strings.Contains(path, "directories"):
		return "/srv/data"
	case strings.HasSuffix(path, ".user"), strings.HasSuffix(path, "proxy_jump"):
		return "deploy"
	}
	return "1"
}
