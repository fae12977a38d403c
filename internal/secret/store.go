package secret

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kstep/kstep/internal/exit"
)

// Options say where a Store finds secrets.
type Options struct {
	// Env looks a variable up in the process environment (os.LookupEnv).
	Env func(name string) (string, bool)
	// Dir is where the dotenv files are: the config's folder.
	Dir string
	// Destination adds .env.<destination>, which goes before .env.
	Destination string
	// OnReveal is called with each value before a caller gets it, for CI systems
	// that mask values themselves. It does not get those of the environment, which
	// a CI system knows.
	OnReveal func(Value)
	// Commands print secrets that are nowhere else, by name, and Run runs one.
	Commands map[string][]string
	Run      func(argv []string) (string, error)
	// AllowEmpty are the names of secrets that may be empty.
	AllowEmpty []string
	// Hint returns what to do about a secret that this process was not given, or
	// nothing; then the hint is to set a variable or to write it into .env.
	Hint func(name string) []string
}

// Store resolves the names of secrets and remembers every value it gave out,
// so that Redactor, Redact and Scan know them. It may be used from several
// goroutines at once.
type Store struct {
	sources    []source
	onReveal   func(Value)
	allowEmpty []string
	hint       func(name string) []string

	mu     sync.Mutex
	known  map[string]string // Value by name.
	masked map[string]bool   // The values from Mask.
	shared func(name string) // From OnShared.
	used   map[string]bool   // The names that it was called with.
	mask   atomic.Pointer[matcher]
	scan   atomic.Pointer[matcher]
}

// source is one place where secrets may be. Its name goes into messages.
type source struct {
	name   string
	lookup func(name string) (value string, found bool, err error)
	shared bool // Other destinations use it too.
	runs   bool // It runs a program, which takes time, and may prompt the user.
}

// NewStore makes a Store. No file is read before a secret is requested.
func NewStore(opt Options) *Store {
	s := &Store{onReveal: opt.OnReveal, allowEmpty: opt.AllowEmpty, hint: opt.Hint, known: map[string]string{}, masked: map[string]bool{}, used: map[string]bool{}}
	if s.hint == nil {
		s.hint = func(string) []string { return nil }
	}
	s.mask.Store(newMatcher(nil))
	s.scan.Store(newMatcher(nil))
	if opt.Env != nil {
		s.sources = append(s.sources, source{name: fromEnv, lookup: func(name string) (string, bool, error) {
			value, ok := opt.Env(name)
			return value, ok, nil
		}})
	}
	if opt.Destination != "" {
		s.sources = append(s.sources, dotenv(filepath.Join(opt.Dir, ".env."+opt.Destination)))
	}
	common := dotenv(filepath.Join(opt.Dir, ".env"))
	common.shared = opt.Destination != ""
	s.sources = append(s.sources, common)
	if len(opt.Commands) > 0 {
		s.sources = append(s.sources, commands(opt))
	}
	return s
}

// commands is what programs print. Each runs once, and only when its secret is
// requested.
func commands(opt Options) source {
	outputs := map[string]func() (string, error){}
	for name, argv := range opt.Commands {
		outputs[name] = sync.OnceValues(func() (string, error) { return opt.Run(argv) })
	}
	return source{name: FromCommand, runs: true, lookup: func(name string) (string, bool, error) {
		output, ok := outputs[name]
		if !ok {
			return "", false, nil
		}
		value, err := output()
		if err != nil {
			return "", false, exit.With(exit.CodeOf(err), fmt.Errorf("secret %s: %w", name, err), exit.Hints(err)...)
		}
		return value, true, nil
	}}
}

// Option changes how one secret is got.
type Option int

// The options of Get.
const (
	// AllowEmpty accepts an empty value.
	AllowEmpty Option = iota + 1
	// OnHand runs no command for it.
	OnHand
)

// Get returns a secret. A missing or empty one is an error that says where it
// was looked for.
func (s *Store) Get(name string, opts ...Option) (Value, error) {
	value, where, err := s.find(name, slices.Contains(opts, OnHand))
	if err != nil {
		return Value{}, err
	}
	if value == "" && !slices.Contains(opts, AllowEmpty) && !slices.Contains(s.allowEmpty, name) {
		return Value{}, exit.With(exit.Config, worded{fmt.Sprintf("secret %s is empty in %s", name, where), ErrEmpty},
			append(s.hintOf(name, where), "give it a value, remove it from the configuration, or list it under secrets.allow_empty")...)
	}
	v := NewValue(value)
	s.add(name, v, where != fromEnv)
	return v, nil
}

// Identifier returns what is kept with the secrets but is not one, such as the
// user name of a registry: it is neither masked nor scanned for, because it is
// a legitimate part of image names.
func (s *Store) Identifier(name string) (string, error) {
	value, where, err := s.find(name, false)
	if err == nil && value == "" {
		err = exit.With(exit.Config, fmt.Errorf("%s is empty in %s", name, where), append(s.hintOf(name, where), "give it a value")...)
	}
	return value, err
}

// Look reports where a secret would come from and whether it is fit for use,
// without its value. With OnHand a command is named, but not run.
func (s *Store) Look(name string, opts ...Option) (where string, err error) {
	for _, src := range s.sources {
		if src.runs && slices.Contains(opts, OnHand) {
			continue
		}
		if _, found, err := src.lookup(name); found || err != nil {
			where = src.name
			break
		}
	}
	_, err = s.Get(name, opts...)
	return where, err
}

// Causes of errors about a secret: it is nowhere, or it is empty.
var (
	ErrMissing = errors.New("secret is missing")
	ErrEmpty   = errors.New("secret is empty")
)

// worded is an error in words for people; its cause is for programs.
type worded struct {
	text  string
	cause error
}

func (w worded) Error() string { return w.text }
func (w worded) Unwrap() error { return w.cause }

// fromEnv is the source that is this process's environment.
const fromEnv = "the environment"

// FromCommand is the source of what a program prints.
const FromCommand = "secrets.commands"

func (s *Store) find(name string, onHand bool) (value, where string, err error) {
	var looked []string
	last := "" // The dotenv file that people write to.
	for _, src := range s.sources {
		if src.runs && onHand {
			continue
		}
		value, found, err := src.lookup(name)
		if err != nil {
			return "", "", err
		}
		if found {
			if src.shared && !onHand {
				s.useShared(name)
			}
			return value, src.name, nil
		}
		looked = append(looked, src.name)
		if !src.runs {
			last = src.name
		}
	}
	hints := s.hint(name)
	if len(hints) == 0 {
		hints = []string{fmt.Sprintf("set the variable %s in the environment of this job, or write %s='…' into %s", name, name, last)}
	}
	return "", "", exit.With(exit.Config,
		worded{fmt.Sprintf("secret %s is missing; looked in %s", name, strings.Join(looked, ", ")), ErrMissing}, hints...)
}

// hintOf is what to do about a secret that is empty there. The variable of an
// unknown secret is empty in GitHub Actions; a file is as the user wrote it.
func (s *Store) hintOf(name, where string) []string {
	if where != fromEnv {
		return nil
	}
	return s.hint(name)
}

// OnShared has use called once for each used secret that comes from the file
// that other destinations use too.
func (s *Store) OnShared(use func(name string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shared = use
}

func (s *Store) useShared(name string) {
	s.mu.Lock()
	use := s.shared
	if s.used[name] {
		use = nil
	}
	s.used[name] = s.used[name] || use != nil
	s.mu.Unlock()
	if use != nil {
		use(name)
	}
}

// Add makes the store know a secret that came from elsewhere, such as a login
// token.
func (s *Store) Add(name string, v Value) { s.add(name, v, true) }

func (s *Store) add(name string, v Value, reveal bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.known[name]; v.IsEmpty() || (ok && old == v.s) {
		return
	}
	key := name
	for n := 2; s.known[key] != ""; n++ {
		// Another value under the same name: both stay secret.
		key = fmt.Sprintf("%s (%d)", name, n)
		if s.known[key] == v.s {
			return
		}
	}
	s.known[key] = v.s
	s.mask.Store(extend(s.mask.Load(), name, forms(v.s, MinMasked)))
	s.scan.Store(extend(s.scan.Load(), name, forms(v.s, MinScanned)))
	if reveal && s.onReveal != nil {
		s.onReveal(v)
	}
}

// Mask makes the store mask a value that a container has, and no more: it is not
// scanned for, and OnReveal does not get it.
func (s *Store) Mask(name string, v Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.IsEmpty() || s.masked[v.s] {
		return
	}
	for _, known := range s.known {
		if known == v.s {
			return
		}
	}
	s.masked[v.s] = true
	s.mask.Store(extend(s.mask.Load(), name, forms(v.s, MinMasked)))
}

// Named finds a secret whose value is that of a name, or is in it and long enough
// for Scan to find it there.
func (s *Store) Named(text string) (name string, found bool) {
	if len(text) >= MinMasked {
		s.mu.Lock()
		defer s.mu.Unlock()
		for key, value := range s.known {
			if value == text {
				name, _, _ = strings.Cut(key, " (")
				return name, true
			}
		}
	}
	p, found := s.scan.Load().find([]byte(text))
	return p.name, found
}

func extend(m *matcher, name string, texts []string) *matcher {
	all := append([]pattern(nil), m.patterns...)
	for _, text := range texts {
		all = append(all, pattern{text: text, name: name})
	}
	return newMatcher(all)
}
