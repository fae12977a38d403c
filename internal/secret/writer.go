package secret

import (
	"fmt"
	"io"
	"sync"

	"github.com/kstep/kstep/internal/exit"
)

// Writer replaces every secret that a Store knows, also one that is split over
// several writes, before anything reaches the writer beneath. What might be the
// beginning of a secret is kept back until more is written, or Close.
type Writer struct {
	w     io.Writer
	mu    sync.Mutex
	store *Store // Nil knows nothing.
	pass  redaction
}

var _ io.WriteCloser = (*Writer)(nil)

// Redactor wraps w. Secrets that the store learns later are masked from then
// on. Close writes what was kept back and leaves w open.
func (s *Store) Redactor(w io.Writer) *Writer { return &Writer{store: s, w: w} }

// NewWriter is a Redactor that has no store yet, for output that may come
// before there is one.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Use masks the secrets of a store from now on.
func (w *Writer) Use(store *Store) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store = store
}

// Write masks and passes on p.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.emit(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was kept back. The Writer can be used again after it.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.emit(nil, true)
}

func (w *Writer) emit(p []byte, end bool) error {
	out := p
	if w.store != nil {
		out = w.pass.next(w.store.mask.Load(), p, end)
	}
	if len(out) == 0 {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}

// Redact replaces every known secret in a complete text.
func (s *Store) Redact(text string) string {
	var pass redaction
	return string(pass.next(s.mask.Load(), []byte(text), true))
}

// Scan fails if a finished file holds a known secret in any form. It names the
// secret, never its value. Values shorter than MinScanned are not looked for.
func (s *Store) Scan(data []byte) error {
	p, found := s.scan.Load().find(data)
	if !found {
		return nil
	}
	return exit.With(exit.Failed, fmt.Errorf("the value of secret %s would be written", p.name),
		"nothing was written; if "+p.name+" is not confidential, give it as a plain value instead of a secret",
		"if it is, it must not be part of names, tags, labels or paths in the configuration")
}
