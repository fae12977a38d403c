package sshconfig

import (
	"errors"
	"path/filepath"
	"strings"
)

// matchHost decides a Host line.
func (e *evaluation) matchHost(s source, l line) bool {
	patterns, err := splitArguments(l.rest)
	if err != nil || len(patterns) == 0 {
		e.warn(s, l, "Host without a name, or with a quote that has no end: the block does not count")
		return false
	}
	matched := false
	for _, pattern := range patterns {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if !matchPattern(e.host, pattern) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// include evaluates the files that an Include line names. In a block that does
// not match they can only request the second pass.
func (e *evaluation) include(s source, l line, active bool, depth int) error {
	err := e.includeFiles(s, l, active, depth)
	if !active && e.ctx.Err() == nil {
		return nil
	}
	return err
}

func (e *evaluation) includeFiles(s source, l line, active bool, depth int) error {
	args, err := splitArguments(l.rest)
	if err != nil || len(args) == 0 {
		return s.fail(l, "Include: a path is missing, or a quote has no end")
	}
	for _, arg := range args {
		pattern, err := e.tokens().expand(arg, true)
		if err != nil {
			return s.fail(l, "Include: %w", err)
		}
		if pattern, err = e.includePath(s, pattern); err != nil {
			return s.fail(l, "Include: %w", err)
		}
		files, err := glob(pattern)
		if err != nil {
			return s.fail(l, "Include: %s: %w", pattern, err)
		}
		for _, file := range files {
			parsed, err := e.c.read(file)
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return s.fail(l, "Include: %w", err)
			}
			within := active // Blocks in the file end with it.
			if err := e.read(source{text: parsed, system: s.system, private: true}, &within, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// includePath anchors a relative path.
func (e *evaluation) includePath(s source, pattern string) (string, error) {
	if strings.HasPrefix(pattern, "~") {
		if s.system {
			return "", errors.New("the machine's own file cannot name a home folder")
		}
		return e.c.machine.home(pattern)
	}
	switch {
	case filepath.IsAbs(pattern):
		return pattern, nil
	case s.system:
		return filepath.Join("/etc/ssh", pattern), nil
	default:
		return filepath.Join(e.c.machine.Home, ".ssh", pattern), nil
	}
}

// glob lists the files of a shell pattern, in which `*` and `?` stand for no
// dot at the start of a name.
func glob(pattern string) ([]string, error) {
	pattern = strings.ReplaceAll(pattern, "[!", "[^")
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	wanted := strings.Split(pattern, "/")
	var files []string
	for _, file := range found {
		hidden := false
		for i, part := range strings.Split(file, "/") {
			hidden = hidden || i < len(wanted) && strings.HasPrefix(part, ".") && !strings.HasPrefix(wanted[i], ".")
		}
		if !hidden {
			files = append(files, file)
		}
	}
	return files, nil
}
