// Package sshconfig evaluates ssh_config(5) files for one destination, as the
// OpenSSH client does: the first value of a keyword counts, Host and Match
// blocks are decided line by line, and files include others. It reads files and
// may run the commands of `Match exec`; it opens no connection. Tests compare
// it with `ssh -G`.
package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// File is one ssh_config file to read.
type File struct {
	Path string
	// Optional files may be missing.
	Optional bool
	// System is the machine's own file: relative Include paths are below
	// /etc/ssh and not below ~/.ssh.
	System bool
	// Private files must belong to the user or to root and be writable for no
	// other user, or the commands in them are not run. Included files are always
	// private.
	Private bool
}

// Destination is a host as the user wrote it.
type Destination struct {
	Host string
	// User and Port were given with the host and count before the files.
	User string
	Port int
	// DefaultUser and DefaultPort count where neither says anything.
	DefaultUser string
	DefaultPort int
}

// Config are ssh_config files. Its methods may be called from several
// goroutines at once. Each file is read once, each command is run once.
type Config struct {
	files    []File
	machine  Machine
	keywords map[string]keyword
	ignored  map[string]bool

	mu    sync.Mutex
	texts map[string]*text
	ran   map[string]*execution
}

// New returns the configuration in files, in the order in which they count. It
// reads nothing yet.
func New(files []File, machine Machine) *Config {
	return &Config{
		files: files, machine: machine, keywords: keywords(), ignored: ignored(),
		texts: map[string]*text{}, ran: map[string]*execution{},
	}
}

// Error is a line that cannot be followed.
type Error struct {
	File string
	Line int
	Err  error
	Hint string // What the user can do; may be empty.
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Warning is a line that is passed over although it may matter.
type Warning struct {
	File string
	Line int
	Text string
}

// Resolve evaluates the files for one destination.
func (c *Config) Resolve(ctx context.Context, to Destination) (*Settings, error) {
	e := &evaluation{c: c, ctx: ctx, to: to, host: to.Host, values: map[string]Value{}}
	if err := e.pass(); err != nil {
		return nil, err
	}
	if err := e.canonicalize(); err != nil {
		return nil, err
	}
	if e.wantFinal {
		e.final, e.host = true, e.hostName()
		e.values["hostname"] = Value{Keyword: "HostName", Args: []string{e.host}} // No line counts any more.
		if err := e.pass(); err != nil {
			return nil, err
		}
	}
	return e.settings()
}

// evaluation is the state while the files are evaluated for one destination.
type evaluation struct {
	c   *Config
	ctx context.Context
	to  Destination

	host      string // What Host patterns are compared with.
	values    map[string]Value
	final     bool // This is the second pass, in which `Match final` matches.
	wantFinal bool
	warnings  []Warning
}

// pass reads all files once.
func (e *evaluation) pass() error {
	for _, file := range e.c.files {
		parsed, err := e.c.read(file.Path)
		switch {
		case errors.Is(err, errMissing) && file.Optional:
			continue
		case err != nil:
			return err
		}
		active := true
		from := source{text: parsed, system: file.System, private: file.Private}
		if err := e.read(from, &active, 0); err != nil {
			return err
		}
	}
	return nil
}

// maxDepth is how deep files may include each other, as in OpenSSH.
const maxDepth = 16

// source is a file that is being evaluated.
type source struct {
	*text
	system  bool
	private bool
}

func (s source) fail(l line, format string, args ...any) error {
	return &Error{File: s.path, Line: l.number, Err: fmt.Errorf(format, args...)}
}

// mayRun refuses to run commands that other users may have written.
func (s source) mayRun(l line, what string) error {
	if !s.private || s.exposed == "" {
		return nil
	}
	return &Error{
		File: s.path, Line: l.number, Err: fmt.Errorf("%s is not run: %s", what, s.exposed),
		Hint: "take write permission from other users, as ssh requires: chmod go-w " + s.path,
	}
}

func (e *evaluation) warn(s source, l line, format string, args ...any) {
	w := Warning{File: s.path, Line: l.number, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(e.warnings, w) { // Else it is of the first pass.
		e.warnings = append(e.warnings, w)
	}
}

// read evaluates one file. active says whether its lines count at its start,
// and is set by its blocks.
func (e *evaluation) read(s source, active *bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: files include each other more than %d deep", s.path, maxDepth)
	}
	possible := *active // In an Include of a block that does not match, nothing does.
	for _, l := range s.lines {
		if err := e.ctx.Err(); err != nil {
			return context.Cause(e.ctx)
		}
		var err error
		switch l.keyword {
		case "host":
			*active = possible && e.matchHost(s, l)
		case "match":
			if *active = false; possible {
				*active, err = e.match(s, l)
			} else {
				e.noteFinal(l)
			}
		case "include":
			err = e.include(s, l, *active, depth)
		default:
			if *active {
				err = e.set(s, l)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
