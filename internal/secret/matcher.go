package secret

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// pattern is one form of a secret, with the secret's name.
type pattern struct{ text, name string }

// matcher finds many patterns at once in one pass. All are MinMasked (four)
// bytes or longer, so candidates are found by their first four bytes; texts
// without a secret cost one table look-up a byte. It is immutable.
type matcher struct {
	patterns []pattern
	byHead   map[[MinMasked]byte][]pattern // Longest first.
	heads    map[string]bool               // Of one to three bytes.
	first    [1 << 16]bool                 // The first two bytes.
	single   [1 << 8]bool                  // The first byte.
	longest  int
}

func newMatcher(patterns []pattern) *matcher {
	m := &matcher{patterns: patterns, byHead: map[[MinMasked]byte][]pattern{}, heads: map[string]bool{}}
	for _, p := range patterns {
		head := [MinMasked]byte([]byte(p.text[:MinMasked]))
		m.byHead[head] = append(m.byHead[head], p)
		for n := 1; n < MinMasked; n++ {
			m.heads[p.text[:n]] = true
		}
		m.first[int(head[0])<<8|int(head[1])] = true
		m.single[head[0]] = true
		m.longest = max(m.longest, len(p.text))
	}
	for _, list := range m.byHead {
		slices.SortStableFunc(list, func(a, b pattern) int { return cmp.Compare(len(b.text), len(a.text)) })
	}
	return m
}

// at looks at the start of text: the longest pattern that begins it, if any,
// and whether a longer one might if more text followed.
func (m *matcher) at(text []byte) (found pattern, maybe bool) {
	if len(text) == 0 || !m.single[text[0]] {
		return pattern{}, false
	}
	if len(text) < MinMasked {
		return pattern{}, m.heads[string(text)]
	}
	if !m.first[int(text[0])<<8|int(text[1])] {
		return pattern{}, false
	}
	for _, p := range m.byHead[[MinMasked]byte(text)] {
		if len(p.text) > len(text) {
			maybe = maybe || p.text[:len(text)] == string(text)
			continue
		}
		if p.text == string(text[:len(p.text)]) {
			return p, maybe
		}
	}
	return pattern{}, maybe
}

// find is the first pattern in a complete text.
func (m *matcher) find(text []byte) (pattern, bool) {
	for i := range text {
		if p, _ := m.at(text[i:]); p.text != "" {
			return p, true
		}
	}
	return pattern{}, false
}

// Ellipsis is what kstep puts where it cut a text. The beginning of a secret before it is
// masked, too, if it is as long as the shortest secret that is.
const Ellipsis = "…"

// cut is at for the beginning of a pattern that was cut: its length, or 0.
func (m *matcher) cut(text []byte) (length int, maybe bool) {
	if len(text) < MinMasked || !m.first[int(text[0])<<8|int(text[1])] {
		return 0, false // Where it may go on, at says so.
	}
	for _, p := range m.byHead[[MinMasked]byte(text)] {
		n := MinMasked
		for n < min(len(p.text), len(text)) && p.text[n] == text[n] {
			n++
		}
		rest := text[n:]
		if bytes.HasPrefix(rest, []byte(Ellipsis)) {
			length = max(length, n)
		}
		maybe = maybe || len(rest) > 0 && len(rest) < len(Ellipsis) && strings.HasPrefix(Ellipsis, string(rest))
	}
	return length, maybe
}

// redaction is a pass over a stream. Text that may still turn out to be the
// beginning of a secret is kept back until more comes.
type redaction struct {
	kept []byte
	// cover is how many bytes at the start of kept belong to a secret whose
	// placeholder is written already.
	cover int
}

// next takes more of the stream and returns what is certain, with secrets
// replaced. Overlapping secrets share one placeholder. With end, nothing is
// kept back.
func (r *redaction) next(m *matcher, more []byte, end bool) []byte {
	text := append(r.kept, more...)
	var out []byte
	i, cover, plain := 0, r.cover, r.cover
	for ; i < len(text); i++ {
		p, maybe := m.at(text[i:])
		beginning, cut := m.cut(text[i:])
		if (maybe || cut) && !end {
			break
		}
		length := max(len(p.text), beginning)
		if length == 0 {
			continue
		}
		if i >= cover {
			out = append(out, text[plain:i]...)
			out = append(out, Redacted...)
		}
		cover = max(cover, i+length)
		plain = cover
	}
	if i > plain {
		out = append(out, text[plain:i]...)
	}
	r.kept = append([]byte(nil), text[i:]...)
	r.cover = max(0, cover-i)
	return out
}
