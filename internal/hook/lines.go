package hook

import (
	"bytes"
	"sync"
)

const (
	// keepLines is how much of a failing hook's output its error repeats.
	keepLines = 10
	// maxLine bounds a line without an end.
	maxLine = 64 << 10
)

// lines is a writer that passes on whole lines, redacted, and remembers the
// last ones.
type lines struct {
	emit   func(string)
	redact func(string) string

	mu   sync.Mutex
	rest []byte
	last []string
}

// Write passes on the lines that are complete.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = maxLine - 1
		}
		l.line(string(bytes.TrimSuffix(l.rest[:i+1], []byte("\n"))))
		l.rest = l.rest[i+1:]
	}
}

// flush passes on a last line without an end.
func (l *lines) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(string(l.rest))
		l.rest = nil
	}
}

func (l *lines) line(text string) {
	if l.redact != nil {
		text = l.redact(text)
	}
	l.emit(text)
	l.last = append(l.last, text)
	if len(l.last) > keepLines {
		l.last = l.last[1:]
	}
}
