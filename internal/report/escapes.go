package report

import "strings"

// escapes recognizes the escape sequences of terminals (ECMA-48) in text that
// comes in pieces. The zero value stands in plain text.
type escapes int

const (
	plain     escapes = iota
	begun             // After ESC.
	between           // ESC and intermediate characters, as in ESC ( B.
	control           // ESC [ up to a final character.
	text              // ESC ] and the like, up to BEL or ESC \.
	textEnded         // After ESC within it.
)

// inside takes the next character and returns whether it is part of a sequence.
// A line break ends a sequence and is no part of it: what never ends would hide
// all that follows.
func (e *escapes) inside(r rune) bool {
	switch {
	case r == '\n' || r == '\r':
		*e = plain
		return false
	case *e == text && r == '\x07', *e == text && r == '\u009c':
		*e = plain
		return true
	case *e == text && r == '\x1b':
		*e = textEnded
		return true
	case *e == text:
		return true
	case *e == textEnded && r == '\\':
		*e = plain
		return true
	case r == '\x1b':
		*e = begun
		return true
	case r == '\u009b': // The same in one character.
		*e = control
		return true
	case r == '\u0090', r == '\u0098', r == '\u009d', r == '\u009e', r == '\u009f':
		*e = text
		return true
	case *e == begun || *e == textEnded:
		*e = after(r)
		return true
	case *e == between:
		if r < 0x20 || r > 0x2f {
			*e = plain
		}
		return true
	case *e == control:
		if r < 0x20 { // A control character acts within a sequence.
			return true
		}
		if r >= 0x40 {
			*e = plain
		}
		return r <= 0x7e
	}
	return false
}

// after is what the character behind ESC begins.
func after(r rune) escapes {
	switch {
	case r == '[':
		return control
	case strings.ContainsRune("]PX^_", r):
		return text
	case r >= 0x20 && r <= 0x2f:
		return between
	}
	return plain
}

// stripEscapes removes escape sequences.
func stripEscapes(s string) string {
	if !strings.ContainsAny(s, "\x1b\u0090\u0098\u009b\u009d\u009e\u009f") {
		return s
	}
	var at escapes
	return strings.Map(func(r rune) rune {
		if at.inside(r) {
			return -1
		}
		return r
	}, s)
}
