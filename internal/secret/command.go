package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// commandTime bounds a program that prints a secret. A person may have to
// unlock it.
const commandTime = 2 * time.Minute

// maxOutput bounds what a program may print.
const maxOutput = 1 << 20

// Commands runs programs that print secrets.
type Commands struct {
	// Dir is where they run: the config's folder.
	Dir string
	// Stderr gets what they complain of, at once: it may be a prompt.
	Stderr io.Writer
}

// Output is what the program prints, without a line break at its end. It runs
// without a shell and has nothing to read. Errors name the program, but neither
// its arguments nor what it printed.
func (c Commands) Output(ctx context.Context, argv []string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	out := &bounded{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, out, c.Stderr
	cmd.WaitDelay = time.Second // For a child that keeps the output open.
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("run %s: %w", argv[0], context.Cause(ctx))
	case limited.Err() != nil:
		return "", exit.With(exit.Deadline, fmt.Errorf("run %s: stopped after %s", argv[0], commandTime), "does it wait to be unlocked?")
	case errors.Is(err, exec.ErrNotFound):
		return "", exit.With(exit.Config, fmt.Errorf("run %s: there is no such program on this machine", argv[0]),
			"install it here, or give the secret in the environment")
	case err != nil:
		return "", exit.With(exit.Config, fmt.Errorf("run %s: %w", argv[0], err), "what it printed is above; run it by hand to find the cause")
	case out.over:
		return "", exit.With(exit.Config, fmt.Errorf("run %s: it printed more than %d bytes", argv[0], maxOutput))
	}
	return strings.TrimSuffix(strings.TrimSuffix(out.text.String(), "\n"), "\r"), nil
}

// bounded keeps no more than maxOutput bytes.
type bounded struct {
	text strings.Builder
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.over = b.over || b.text.Len()+len(p) > maxOutput; !b.over {
		b.text.Write(p)
	}
	return len(p), nil
}
