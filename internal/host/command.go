package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// CommandError is a program that ran on a host and did not end well.
type CommandError struct {
	Host    string
	Program string // The first word only: arguments may be long, or confidential.
	Status  int    // -1 when the connection reported none.
	Signal  string // Such as `KILL`, if one ended it.
	Stderr  string // The end of what it wrote there.
}

func (e *CommandError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Status)
	switch {
	case e.Signal != "":
		how = "ended by signal " + e.Signal
	case e.Status < 0:
		how = "no exit status, the connection may have broken"
	}
	text := fmt.Sprintf("run %s on %s: %s", e.Program, e.Host, how)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
	return text
}

// errNUL is an argument that no program can be given.
var errNUL = errors.New("a command's argument cannot hold a NUL byte")

// Quote writes an argument vector as one line for a POSIX shell. It is the only
// place where that is done.
func Quote(argv []string) (string, error) {
	if len(argv) == 0 {
		return "", errors.New("a command needs a program")
	}
	words := make([]string, len(argv))
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return "", errNUL
		}
		words[i] = quoteWord(arg)
	}
	return strings.Join(words, " "), nil
}

// isPlain says whether every shell takes a word as it is.
func isPlain(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:@%+,", r))
	})
}

// quoteWord leaves plain words readable. A first word with `=` in it would be
// an assignment, and `~` or `-` mean nothing within quotes either.
func quoteWord(s string) string {
	if isPlain(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// stderrTail is how much of a program's complaints an error keeps.
const stderrTail = 2 << 10

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct{ buf bytes.Buffer }

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - stderrTail; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return strings.TrimSpace(t.buf.String()) }

// output keeps what a program prints, up to a limit.
type output struct {
	buf  bytes.Buffer
	left int
}

// Write fails at the limit.
func (o *output) Write(p []byte) (int, error) {
	if o.left -= len(p); o.left < 0 {
		return 0, ErrLongOutput
	}
	return o.buf.Write(p)
}

// collect runs a program and takes its output into memory.
func collect(ctx context.Context, h Host, argv []string, stdin []byte) ([]byte, error) {
	out := &output{left: MaxOutput}
	err := h.RunTo(ctx, argv, stdin, out)
	if errors.Is(err, ErrLongOutput) {
		return nil, exit.With(exit.Failed, fmt.Errorf("run %s on %s: %w: kstep stopped the program", argv[0], h.Name(), ErrLongOutput),
			"have it print less, or write into a file on the host")
	}
	return out.buf.Bytes(), err
}
