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

// Options tell a Store where secrets come from.
type Options struct {
	// Env looks a variable up in the process environment (os.LookupEnv).
	Env func(name string) (string, bool)
	// Dir is where the dotenv files are: the config's folder.
	Dir string
	// Destination adds .env.<destination>, which goes before .env.
	Destination string
	// OnReveal is told every value before anybody gets it, for CI systems that
	// want to mask it themselves.
	OnReveal func(Value)
}

// Store resolves the names of secrets and remembers every value it gave out,
// so that Redactor, Redact and Scan know them. It may be used from several
// goroutines at once.
type Store struct {
	sources  []source
	onReveal func(Value)

	mu    sync.Mutex
	known map[string]string // Value by name.
	mask  atomic.Pointer[matcher]
	scan  atomic.Pointer[matcher]
}

// source is one place where secrets may be. Its name goes into messages.
type source struct {
	name   string
	lookup func(name string) (value string, found bool, err error)
}

// NewStore makes a Store. No file is read before a secret is asked for.
func NewStore(opt Options) *Store {
	s := &Store{onReveal: opt.OnReveal, known: map[string]string{}}
	s.mask.Store(newMatcher(nil))
	s.scan.Store(newMatcher(nil))
	if opt.Env != nil {
		s.sources = append(s.sources, source{"the environment", func(name string) (string, bool, error) {
			value, ok := opt.Env(name)
			return value, ok, nil
		}})
	}
	if opt.Destination != "" {
		s.sources = append(s.sources, dotenv(filepath.Join(opt.Dir, ".env."+opt.Destination)))
	}
	s.sources = append(s.sources, dotenv(filepath.Join(opt.Dir, ".env")))
	return s
}

// Option changes how one secret is got.
type Option int

// The options of Get.
const (
	// AllowEmpty accepts an empty value.
	AllowEmpty Option = iota + 1
)

// Get returns a secret. A missing or empty one is an error that says where it
// was looked for.
func (s *Store) Get(name string, opts ...Option) (Value, error) {
	value, where, err := s.find(name)
	if err != nil {
		return Value{}, err
	}
	if value == "" && !slices.Contains(opts, AllowEmpty) {
		return Value{}, exit.With(exit.Config, fmt.Errorf("secret %s is empty in %s", name, where),
			"give it a value, or remove it from the configuration")
	}
	v := NewValue(value)
	s.Add(name, v)
	return v, nil
}

// Identifier returns what is kept with the secrets but is not one, such as the
// user name of a registry: it is neither masked nor scanned for, because it is
// a legitimate part of image names.
func (s *Store) Identifier(name string) (string, error) {
	value, where, err := s.find(name)
	if err == nil && value == "" {
		err = exit.With(exit.Config, fmt.Errorf("%s is empty in %s", name, where), "give it a value")
	}
	return value, err
}

// Where tells the source a secret would come from, without its value; found is
// false if it is nowhere.
func (s *Store) Where(name string) (where string, found bool, err error) {
	_, where, err = s.find(name)
	if errors.Is(err, ErrMissing) {
		return "", false, nil
	}
	return where, err == nil, err
}

// ErrMissing is the cause of an error about a secret that is nowhere.
var ErrMissing = errors.New("secret is missing")

// missing is worded for people; its cause is for programs.
type missing struct{ text string }

func (m missing) Error() string { return m.text }
func (missing) Unwrap() error   { return ErrMissing }

func (s *Store) find(name string) (value, where string, err error) {
	var looked []string
	for _, src := range s.sources {
		value, found, err := src.lookup(name)
		if err != nil {
			return "", "", err
		}
		if found {
			return value, src.name, nil
		}
		looked = append(looked, src.name)
	}
	last := looked[len(looked)-1]
	return "", "", exit.With(exit.Config,
		missing{fmt.Sprintf("secret %s is missing; looked in %s", name, strings.Join(looked, ", "))},
		fmt.Sprintf("set the variable %s in the environment of this job, or write %s='…' into %s", name, name, last))
}

// Add makes the store know a secret that came from elsewhere, such as a login
// token.
func (s *Store) Add(name string, v Value) {
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
	if s.onReveal != nil {
		s.onReveal(v)
	}
}

func extend(m *matcher, name string, texts []string) *matcher {
	all := append([]pattern(nil), m.patterns...)
	for _, text := range texts {
		all = append(all, pattern{text: text, name: name})
	}
	return newMatcher(all)
}
