package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/schema"
)

// DefaultPath is where the configuration is looked for.
const DefaultPath = "kstep.yml"

// maxSize bounds a file; a real one has a few kilobytes.
const maxSize = 1 << 20

// LoadOptions are what Load needs beside the files.
type LoadOptions struct {
	// Path of the main file. Empty means DefaultPath.
	Path string
	// Destination merges `kstep.<destination>.yml`, beside the main file, over
	// it.
	Destination string
	// Env looks up the variables of `${VAR}`, as os.LookupEnv does. Nil has
	// none.
	Env func(string) (string, bool)
	// KstepVersion is compared with `minimum_version`. Empty, or what is not a
	// version, satisfies every minimum.
	KstepVersion string
	// Commands are those of kstep, whose names no alias may have.
	Commands []string
}

// Load reads the configuration, merges the destination's file over it, fills
// in variables and defaults and checks everything. All problems are reported
// at once, as Errors.
func Load(o LoadOptions) (*Config, error) {
	if o.Path == "" {
		o.Path = DefaultPath
	}
	if o.Env == nil {
		o.Env = func(string) (string, bool) { return "", false }
	}
	tree, problems, err := readFiles(o)
	if err != nil {
		return nil, err
	}
	var cfg *Config
	if tree != nil {
		var more Errors
		cfg, more = build(tree, o)
		problems = append(problems, more...)
	}
	if len(problems) > 0 {
		return nil, exit.With(exit.Config, problems.sorted(o.Path),
			"docs/config.md has every key with an example; kstep config validate checks the file and touches nothing")
	}
	cfg.Path, cfg.Destination = o.Path, o.Destination
	return cfg, nil
}

// aliases refuses those that a command of kstep's own hides.
func (c *checker) aliases(commands []string) {
	for name := range c.cfg.Aliases {
		if slices.Contains(commands, name) {
			c.atKey([]string{"aliases", name}, "is the name of a command of kstep; give the alias another one")
		}
	}
}

var destinationName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// readFiles parses the main file and merges the destination's over it. Without
// a tree there is nothing to look at but the problems.
func readFiles(o LoadOptions) (*node, Errors, error) {
	data, err := read(o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, exit.With(exit.Config, err, "run `kstep init` to write one")
	}
	if err != nil {
		return nil, nil, exit.With(exit.Config, err)
	}
	tree, problems := parse(data, o.Path)
	if o.Destination == "" {
		return tree, problems, nil
	}
	if !destinationName.MatchString(o.Destination) {
		return nil, nil, exit.Errorf(exit.Usage, "destination %q: use lower-case letters, digits, - and _, at most 63 of them", o.Destination)
	}
	path := destinationPath(o.Path, o.Destination)
	data, err = read(path)
	if err != nil {
		err = exit.With(exit.Config, fmt.Errorf("destination %s: %w", o.Destination, err))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = exit.Hint(err, destinationHint(o.Path))
	}
	if err != nil {
		return nil, nil, err
	}
	over, more := parse(data, path)
	problems = append(problems, more...)
	if tree == nil || over == nil {
		return nil, problems, nil
	}
	return merge(tree, over, nil), problems, nil
}

func destinationPath(main, destination string) string {
	ext := filepath.Ext(main)
	return strings.TrimSuffix(main, ext) + "." + destination + ext
}

func destinationHint(main string) string {
	found, _ := filepath.Glob(destinationPath(main, "*")) // A bad pattern finds nothing.
	if len(found) == 0 {
		return "write it, or leave out the destination; an empty map `{}` changes nothing"
	}
	return "there is " + strings.Join(found, ", ")
}

// Local is a file that the configuration names: a relative path starts where the
// configuration lies.
func (c *Config) Local(file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(filepath.Dir(c.Path), file)
}

// read is os.ReadFile with a limit and with errors that name the act.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("read %s: is a folder, not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("read %s: larger than 1 MB; is this the right file?", path)
	}
	return data, nil
}

// build turns a merged tree into a Config.
func build(tree *node, o LoadOptions) (*Config, Errors) {
	tree.setPaths("")
	c := &checker{tree: tree}
	c.interpolate(o.Env)
	dropNulls(tree, nil)
	if !c.schema() {
		return nil, c.problems
	}
	c.canonical()
	cfg := defaults()
	if err := json.Unmarshal(tree.json(), &cfg); err != nil {
		// The schema lets nothing through that does not decode; a test that
		// fuzzes the loader holds it to that.
		return nil, append(c.problems, Problem{File: tree.at.file, Message: err.Error()})
	}
	cfg.Destination = o.Destination
	cfg.cleanPaths()
	c.cfg = &cfg
	c.semantics(o.KstepVersion)
	c.aliases(o.Commands)
	cfg.keepSecretSources(tree)
	cfg.Variables = variableUses(tree)
	cfg.Entries = hostEntries(tree)
	for i := range cfg.Servers.Roles {
		role := &cfg.Servers.Roles[i]
		role.Hosts = uniteHosts(role.Hosts)
	}
	return &cfg, c.problems
}

// checker collects what is wrong.
type checker struct {
	tree     *node
	cfg      *Config
	problems Errors
	broken   [][]string // What is already known to be wrong; checks that depend on it stay quiet.
}

// at adds a problem with the value at segs.
func (c *checker) at(segs []string, format string, args ...any) {
	c.report(segs, false, fmt.Sprintf(format, args...))
}

// atKey adds a problem with the key at segs.
func (c *checker) atKey(segs []string, format string, args ...any) {
	c.report(segs, true, fmt.Sprintf(format, args...))
}

func (c *checker) report(segs []string, onKey bool, message string) {
	for _, b := range c.broken {
		n := min(len(b), len(segs))
		if slices.Equal(b[:n], segs[:n]) {
			return
		}
	}
	c.add(segs, onKey, message)
}

func (c *checker) add(segs []string, onKey bool, message string) {
	at, path := c.tree.spot(segs, onKey)
	c.problems = append(c.problems, Problem{
		File: at.file, Line: at.line, Column: at.column, Path: path, Message: message,
	})
}

// schema holds the tree against the JSON Schema and takes away what it
// refuses, so that the other checks can look at the rest. It reports false if
// nothing sensible is left.
func (c *checker) schema() bool {
	for attempt := range 3 {
		doc, err := schema.Decode(c.tree.json())
		if err != nil {
			c.add(nil, false, err.Error())
			return false
		}
		found := schema.ValidateConfig(doc)
		if attempt == 0 {
			for _, p := range found {
				c.report(p.Path, p.OnKey, c.explained(p))
			}
			for _, p := range found {
				c.broken = append(c.broken, p.Path)
			}
		}
		if !slices.ContainsFunc(found, func(p schema.Problem) bool { return !p.Missing }) {
			return true
		}
		c.prune(found)
	}
	return false
}

// prune removes the refused nodes, last list items first.
func (c *checker) prune(found []schema.Problem) {
	slices.SortFunc(found, func(a, b schema.Problem) int { return -slices.CompareFunc(a.Path, b.Path, compareSegs) })
	for _, p := range found {
		if p.Missing || len(p.Path) == 0 {
			continue
		}
		last := len(p.Path) - 1
		parent := c.tree.find(p.Path[:last])
		if parent == nil {
			continue
		}
		if parent.kind == list {
			if i := index(p.Path[last]); i >= 0 && i < len(parent.items) {
				parent.items = slices.Delete(parent.items, i, i+1)
			}
			continue
		}
		parent.remove(p.Path[last])
	}
}
