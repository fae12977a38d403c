package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with the configuration, and where.
type Problem struct {
	File    string
	Line    int // From 1; 0 if the problem is with the file as a whole.
	Column  int
	Path    string // Such as `servers.web.hosts[1]`, or empty.
	Message string
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors are all problems of a configuration, sorted by position. A reporter
// that annotates files finds it with errors.As.
type Errors []Problem

// maxLines is how many problems Error lists; a file with more is not a
// kstep.yml.
const maxLines = 100

func (e Errors) Error() string {
	var lines []string
	for i, p := range e {
		if i == maxLines {
			lines = append(lines, fmt.Sprintf("… and %d more", len(e)-maxLines))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// sorted puts the main file first, each file by position, and drops what is
// said twice: an anchor used in several places is wrong once.
func (e Errors) sorted(main string) Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		if a.File != b.File {
			if a.File == main {
				return -1
			}
			if b.File == main {
				return 1
			}
		}
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return slices.CompactFunc(e, func(a, b Problem) bool {
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
}
