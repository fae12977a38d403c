package kamal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a file; a real one has a few kilobytes.
const maxFile = 1 << 20

// maxConditions bounds how many blocks of Ruby have their other branches read.
const maxConditions = 20

// source is everything that an import reads.
type source struct {
	path         string // Kamal's main file.
	dir          string // The project's folder.
	base         *node
	destinations []destination
	fragments    []fragment
	reads        []string          // Variables that the Ruby reads.
	conditional  map[string][]span // Lines under a condition, by file.
	notes        []Entry
	hooks        []hookFile
	dotenv       map[string][]secretLine // The secrets files, by destination.
}

type destination struct {
	name string
	tree *node
}

func readSource(o Options) (*source, error) {
	s := &source{path: o.Path, dir: filepath.Dir(o.Path), conditional: map[string][]span{}, dotenv: map[string][]secretLine{}}
	if filepath.Base(s.dir) == "config" {
		s.dir = filepath.Dir(s.dir)
	}
	data, err := readFile(o.Path)
	if err != nil {
		return nil, err
	}
	if s.base, err = s.parse(data, o.Path); err != nil {
		return nil, err
	}
	names := o.Destinations
	if names == nil {
		if names, err = findDestinations(o.Path); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		path := destinationFile(o.Path, name)
		data, err := readFile(path)
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", name, err)
		}
		tree, err := s.parse(data, path)
		if err != nil {
			return nil, err
		}
		s.destinations = append(s.destinations, destination{name, tree})
	}
	if err := s.readSecrets(); err != nil {
		return nil, err
	}
	return s, s.readHooks()
}

func findDestinations(path string) ([]string, error) {
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "."
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, refused("find destinations: %w", err)
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if name, ok = cutSuffix(name, ext, ok); ok && name != "" && !strings.Contains(name, ".") && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names, nil
}

func cutSuffix(s, suffix string, before bool) (string, bool) {
	s, ok := strings.CutSuffix(s, suffix)
	return s, ok && before
}

// readFile is os.ReadFile with a limit.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", refused("read Kamal's configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", refused("read Kamal's configuration: %w", err)
	}
	if len(data) > maxFile {
		return "", refused("read %s: larger than 1 MB", path)
	}
	return string(data), nil
}

// readIfThere is readFile for a file that need not be there.
func readIfThere(path string) (string, bool, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	data, err := readFile(path)
	return data, err == nil, err
}

// parse reads a YAML file with Ruby in it.
func (s *source) parse(data, file string) (*node, error) {
	t, err := erb(data, file, len(s.fragments), nil)
	if err != nil {
		return nil, err
	}
	tree, err := parseYAML(t.text, file)
	if err != nil {
		return nil, err
	}
	s.fragments = append(s.fragments, t.fragments...)
	s.notes = append(s.notes, t.notes...)
	s.reads = append(s.reads, t.reads...)
	lines := strings.Split(data, "\n")
	for i, c := range t.conditions {
		s.condition(c, file, lines)
		if !c.loop && i < maxConditions {
			s.otherBranches(i, c, data, file, tree)
		}
	}
	return tree, nil
}

// condition reports a block of Ruby.
func (s *source) condition(c condition, file string, lines []string) {
	note := func(k Kind, format string, args ...any) {
		s.notes = append(s.notes, Entry{Kind: k, Key: "erb", File: file, Line: c.line, Text: fmt.Sprintf(format, args...), danger: Names})
	}
	if len(c.parts) == 0 {
		return
	}
	switch {
	case c.loop:
		note(Changed, "the loop is not executed; its lines are imported once: %s", c.code)
	case len(c.parts) == 1:
		s.conditional[file] = append(s.conditional[file], c.parts[0])
		note(Changed, "the condition is not evaluated; its lines are imported: %s", c.code)
	default:
		s.conditional[file] = append(s.conditional[file], c.parts[0])
		note(NotImportable, "the condition is not evaluated: %s; imported is the first branch:\n%s\nnot imported:\n%s",
			c.code, excerpt(lines, c.parts[0]), excerpt(lines, span{c.parts[1].from, c.parts[len(c.parts)-1].to}))
	}
}

// excerpt is what stands between the lines of Ruby of a branch.
func excerpt(lines []string, s span) string {
	var kept []string
	for i := s.from; i <= s.to && i <= len(lines); i++ {
		if line := lines[i-1]; !strings.Contains(line, "<%") || strings.Contains(line, "<%=") {
			kept = append(kept, line)
		}
	}
	if strings.TrimSpace(strings.Join(kept, "")) == "" && s.from <= len(lines) { // All on one line.
		kept = []string{strings.TrimSpace(lines[s.from-1])}
	}
	if len(kept) > 12 {
		kept = append(kept[:12], "…")
	}
	return strings.Join(kept, "\n")
}

// otherBranches reports the keys that only the branches have that are not
// imported.
func (s *source) otherBranches(number int, c condition, data, file string, tree *node) {
	for branch := 1; branch < len(c.parts); branch++ {
		t, err := erb(data, file, len(s.fragments), map[int]int{number: branch})
		if err != nil {
			continue
		}
		other, err := parseYAML(t.text, file)
		if err != nil {
			continue
		}
		s.onlyIn(other, tree, "", c.parts[branch], c)
	}
}

func (s *source) onlyIn(other, tree *node, path string, where span, c condition) {
	for _, p := range other.pairs {
		key := strings.TrimPrefix(path+"."+p.key, ".")
		mine := tree.get(p.key)
		switch {
		case mine != nil && p.value.kind == mapping && mine.kind == mapping:
			s.onlyIn(p.value, mine, key, where, c)
		case where.has(p.line) && (mine == nil || !equal(mine, p.value)):
			s.notes = append(s.notes, Entry{
				Kind: NotImportable, Key: key, File: other.file, Line: p.line,
				Text: "is in a branch that is not imported, of the condition in line " + fmt.Sprint(c.line) + ": " + c.code, danger: Names,
			})
		}
	}
}

// isConditional reports whether a value stands under a condition.
func (s *source) isConditional(n *node) bool {
	return slices.ContainsFunc(s.conditional[n.file], func(p span) bool { return p.has(n.line) })
}
