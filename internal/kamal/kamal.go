// Package kamal imports the configuration of Kamal 1.x and 2.x: it reads
// deploy.yml with its destination files, secrets files and hooks, and makes
// kstep.yml, kstep.<destination>.yml, hooks, and a report of what is not the
// same. It executes nothing, Ruby and shell included, and uses no network. What
// it writes passes `kstep config validate`.
//
// The steps are read (read.go, erb.go, ruby.go), translate (translate.go and a
// file for each part of the configuration), check (check.go), and write
// (write.go, emit.go). What depends on keys that kstep's schema may not have yet
// is in carried.go.
package kamal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// DefaultPath is where Kamal keeps its configuration.
const DefaultPath = "config/deploy.yml"

// Options are what Import needs.
type Options struct {
	// Path is Kamal's main file. Empty means DefaultPath.
	Path string
	// Destinations are those to import. Nil means all that have a file beside
	// the main one.
	Destinations []string
	// Knows reports whether kstep's schema has a key. Nil means the embedded
	// schema.
	Knows func(key ...string) bool
}

// File is a file to write, relative to the output folder.
type File struct {
	Path       string
	Data       []byte
	Executable bool
}

// Result is what an import makes.
type Result struct {
	Files  []File
	Report Report
}

// Import reads Kamal's files and makes kstep's. It writes nothing. An error
// gives the reason why there is no import.
func Import(o Options) (*Result, error) {
	if o.Path == "" {
		o.Path = DefaultPath
	}
	if o.Knows == nil {
		o.Knows = knowsKey
	}
	src, err := readSource(o)
	if err != nil {
		return nil, err
	}
	return importSource(src, o)
}

func importSource(src *source, o Options) (*Result, error) {
	shared := &shared{src: src, knows: o.Knows, names: map[int]string{}, taken: map[string]string{}}
	var found collector
	base := newImporter(shared, "", src.base)
	base.translate()
	trees := map[string]*node{}
	for _, d := range src.destinations {
		im := newImporter(shared, d.name, merge(src.base, d.tree))
		im.translate()
		trees[d.name] = im.out
		found.add(im.found.entries...)
	}
	alone := src.deployedAlone()
	if alone {
		found.add(base.found.entries...)
	} else {
		keepShared(base.out, trees)
	}
	found.add(src.notes...)
	f := &forms{base: base.out, overlays: trees, order: src.destinationNames(), alone: alone}
	dropped, err := f.settle()
	if err != nil {
		return nil, err
	}
	for _, d := range dropped {
		if !found.withoutTLS(d) {
			found.add(d.entry())
		}
	}
	r := &Result{Report: Report{Entries: found.sorted()}}
	r.Files = append(f.files(src.path), base.hooks...)
	for _, file := range r.Files {
		r.Report.Files = append(r.Report.Files, file.Path)
	}
	return r, nil
}

// deployedAlone reports whether the main file is a whole configuration by itself:
// all of its roles have hosts.
func (s *source) deployedAlone() bool {
	if len(s.destinations) == 0 {
		return true
	}
	if text(s.base.get("require_destination")) == "true" {
		return false
	}
	return hasHosts(s.base.get("servers"))
}

func hasHosts(servers *node) bool {
	switch {
	case servers == nil:
		return false
	case servers.kind == list:
		return len(servers.items) > 0
	}
	return len(servers.pairs) > 0 && !slices.ContainsFunc(servers.pairs, func(p pair) bool {
		return len(many(p.value.get("hosts"))) == 0 && (p.value.kind != list || len(p.value.items) == 0)
	})
}

// keepShared takes keys out of the main tree that no destination has: where the
// main file is never deployed alone, such a key comes from a default that each
// destination replaces.
func keepShared(base *node, trees map[string]*node) {
	base.pairs = slices.DeleteFunc(base.pairs, func(p pair) bool {
		if p.value.kind == mapping && len(p.value.pairs) > 0 {
			below := map[string]*node{}
			for name, tree := range trees {
				if n := tree.get(p.key); n != nil {
					below[name] = n
				}
			}
			keepShared(p.value, below)
			return len(p.value.pairs) == 0
		}
		for _, tree := range trees {
			if tree.get(p.key) != nil {
				return false
			}
		}
		return true
	})
}

// destinationNames are those of the destinations, in order.
func (s *source) destinationNames() []string {
	names := make([]string, len(s.destinations))
	for i, d := range s.destinations {
		names[i] = d.name
	}
	return names
}

func destinationFile(main, destination string) string {
	ext := filepath.Ext(main)
	return strings.TrimSuffix(main, ext) + "." + destination + ext
}

func refused(format string, args ...any) error {
	return exit.With(exit.Config, fmt.Errorf(format, args...))
}
