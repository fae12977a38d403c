package report

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Cleaner makes text of other programs harmless, whatever pieces it comes in.
// It removes escape sequences and control characters, so that the redaction
// below it sees the same text as a reader does; tabs stay. In a CI system no
// line can be a command. Bytes that are not UTF-8 are replaced.
type Cleaner struct {
	w    io.WriteCloser
	ci   bool
	json func() bool

	mu     sync.Mutex
	kept   []byte // The beginning of a character, or of a line of JSON.
	at     escapes
	color  []byte // A sequence that may be one of kstep's own colours.
	mid    bool   // The line has begun with something else than white space.
	colon  bool   // The line begins with a colon, which is kept back.
	hashes int    // How many # came last.
	cr     bool   // A carriage return came last.
}

var _ io.WriteCloser = (*Cleaner)(nil)

// NewCleaner makes a Cleaner that writes to w. ci is the CI system whose
// commands are defused, or empty. While isJSON says so, the text is lines of
// JSON, of which the strings are cleaned.
func NewCleaner(w io.WriteCloser, ci string, isJSON func() bool) *Cleaner {
	return &Cleaner{w: w, ci: ci != "", json: isJSON}
}

// Write cleans and passes on p.
func (c *Cleaner) Write(p []byte) (int, error) { return c.write(p, false) }

// Painted writes text of kstep itself, in which colours stay. What it quotes of
// others must be cleaned already.
func (c *Cleaner) Painted(text string) error {
	_, err := c.write([]byte(text), true)
	return err
}

func (c *Cleaner) write(p []byte, painted bool) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	more := append(c.kept, p...)
	c.kept = nil
	var out []byte
	if c.json != nil && c.json() {
		end := bytes.LastIndexByte(more, '\n') + 1
		c.kept = bytes.Clone(more[end:])
		for line := range bytes.Lines(more[:end]) {
			out = c.next(out, c.strings(line), painted)
		}
	} else {
		end := len(more) - unfinished(more)
		c.kept = bytes.Clone(more[end:])
		out = c.next(out, more[:end], painted)
	}
	if len(out) == 0 {
		return len(p), nil
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was kept back, and closes the writer beneath. The Cleaner
// can be used again after it, if that one can.
func (c *Cleaner) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.next(nil, c.kept, false)
	if c.colon {
		out = append(out, ':')
	}
	c.kept, c.colon, c.at = nil, false, plain
	if len(out) > 0 {
		if _, err := c.w.Write(out); err != nil {
			return err
		}
	}
	return c.w.Close()
}

// unfinished is the length of the beginning of a character at the end.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if b := p[len(p)-n]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// next appends the cleaned text to out.
func (c *Cleaner) next(out, more []byte, painted bool) []byte {
	for i := 0; i < len(more); {
		b := more[i]
		if c.at == plain && c.mid && b >= ' ' && b < 0x7f && b != '[' && b != '#' { // Most text.
			out, c.hashes, c.cr = append(out, b), 0, false
			i++
			continue
		}
		r, size := utf8.DecodeRune(more[i:])
		i += size
		if c.at.inside(r) {
			out = c.own(out, r, painted)
			continue
		}
		out = c.one(out, r)
	}
	return out
}

// own keeps a colour of kstep: ESC [ numbers m.
func (c *Cleaner) own(out []byte, r rune, painted bool) []byte {
	if !painted {
		return out
	}
	if r == '\x1b' {
		c.color = nil
	}
	c.color = utf8.AppendRune(c.color, r)
	if c.at == plain && r == 'm' && strings.Trim(string(c.color), "0123456789;") == "\x1b[m" {
		return append(out, c.color...)
	}
	return out
}

// one takes a character of the text.
func (c *Cleaner) one(out []byte, r rune) []byte {
	afterCR := c.cr
	c.cr = r == '\r'
	switch {
	case r == '\n' && afterCR:
		return out
	case r == '\n', r == '\r':
		if c.colon {
			out = append(out, ':')
		}
		c.mid, c.colon, c.hashes = false, false, 0
		return append(out, '\n')
	case r != '\t' && printable(r) < 0:
		c.cr = afterCR
		return out
	case c.ci && r == ':' && !c.mid:
		if !c.colon {
			c.colon = true
			return out
		}
		c.mid, c.colon = true, false
		return append(out, "| ::"...)
	}
	if c.colon {
		c.mid, c.colon = true, false
		out = append(out, ':')
	}
	if c.ci && r == '[' && c.hashes >= 2 {
		out = append(out, ' ')
	}
	if c.hashes++; r != '#' {
		c.hashes = 0
	}
	c.mid = c.mid || !blank(r)
	return utf8.AppendRune(out, r)
}

// blank reports whether a CI system may skip r at the start of a line.
func blank(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' }

// strings cleans the strings in a line of JSON.
func (c *Cleaner) strings(line []byte) []byte {
	if !bytes.ContainsAny(line, `\#`) && isASCII(line) {
		return line
	}
	var out []byte
	for {
		begin := bytes.IndexByte(line, '"')
		if begin < 0 {
			return append(out, line...)
		}
		out, line = append(out, line[:begin]...), line[begin:]
		end := closing(line)
		if end < 0 {
			return append(out, line...)
		}
		out, line = append(out, c.literal(line[:end])...), line[end:]
	}
}

func isASCII(p []byte) bool {
	for _, b := range p {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// closing is where a string of JSON ends.
func closing(p []byte) int {
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// literal cleans one string of JSON. The text of it stays the same where only a
// command of a CI system is broken.
func (c *Cleaner) literal(p []byte) []byte {
	var value string
	if json.Unmarshal(p, &value) != nil {
		return p
	}
	if cleaned := Plain(value); cleaned != value {
		if made, err := json.Marshal(cleaned); err == nil {
			p = made
		}
	}
	if c.ci {
		p = bytes.ReplaceAll(p, []byte("##["), []byte(`##\u005b`))
	}
	return p
}

// Plain removes escape sequences and control characters from a text of several
// lines. Tabs stay.
func Plain(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stripEscapes(s))
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		return printable(r)
	}, s)
}
