// Package short shortens names that their first digits distinguish. No other
// package does: a name that a user chose is never cut.
package short

import (
	"regexp"
	"strings"
)

const (
	commit = 7  // As git shows it.
	id     = 12 // As Docker shows containers and images, and as its DNS names containers.
)

var (
	isCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	isID     = regexp.MustCompile(`^(sha256:)?[0-9a-f]{64}$`)
)

// Of is the short form of a commit (40 hex digits) or of a container's id or a
// digest (64 hex digits, also after `sha256:`). Any other text stays as it is,
// such as the versions `v1.10.12` and `<commit>_uncommitted_<digest>`.
func Of(text string) string {
	switch {
	case isCommit.MatchString(text):
		return text[:commit]
	case isID.MatchString(text):
		prefix := text[:len(text)-64]
		return prefix + strings.TrimPrefix(text, prefix)[:id]
	}
	return text
}

// within finds what may be shortened inside a sentence, with what belongs to it.
var within = regexp.MustCompile(`[0-9a-f]{40,}(_uncommitted_[0-9a-f]+)?`)

// In shortens commits, ids and digests inside a text.
func In(text string) string { return within.ReplaceAllStringFunc(text, Of) }
