// Package lines cuts what programs print into lines.
package lines

import (
	"bytes"
	"strings"
	"sync"
)

// Max bounds a line without an end, in bytes: a longer one is cut.
const Max = 64 << 10

// Writer passes on what is written to it, line by line. Of a line that was drawn
// over (carriage returns) only the last state counts, and what is not UTF-8 is
// replaced. It may be written to by several goroutines.
type Writer struct {
	// Emit, unless it is nil, gets each line without its end.
	Emit func(string)
	// Keep is how many of the last lines Last remembers; empty ones don't count.
	Keep int

	mu   sync.Mutex
	rest []byte
	last []string
}

// Write passes on the lines that are complete.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		end := bytes.IndexByte(w.rest, '\n') + 1
		switch {
		case end == 0 && len(w.rest) < Max:
			return len(p), nil
		case end == 0:
			end = len(w.rest)
		}
		w.line(string(w.rest[:end]))
		w.rest = w.rest[end:]
	}
}

// Flush passes on a last line without an end.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) > 0 {
		w.line(string(w.rest))
		w.rest = nil
	}
}

// Last are the last lines, oldest first.
func (w *Writer) Last() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *Writer) line(text string) {
	text = strings.TrimRight(text, "\r\n")
	text = strings.ToValidUTF8(text[strings.LastIndexByte(text, '\r')+1:], "\uFFFD")
	if text != "" && w.Keep > 0 {
		w.last = append(w.last[max(0, len(w.last)-w.Keep+1):], text)
	}
	if w.Emit != nil {
		w.Emit(text)
	}
}
