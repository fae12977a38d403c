package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// An SSH server hands a command line to the user's login shell, which may be
// any: bash, csh, fish, a restricted one. So a line holds only what every shell
// reads in the same way, and anything else goes to `sh` on standard input. The
// start files of the shell may print before the command does; a line of its own
// marks where the command's output begins.

// shellCommand is a command for an unknown login shell.
type shellCommand struct {
	line   string
	mark   string // The line before the command's output.
	script string // What comes before the program's own input.
}

// commandFor writes a command for an unknown login shell. Words that are plain
// stand in the line. Others are a script that `sh` reads from standard input,
// byte by byte, so that the rest is left to the program. The line has neither
// line breaks nor backslashes nor `!` nor `'` within its quotes, which shells
// read differently.
func commandFor(argv []string) (shellCommand, error) {
	mark := "kstep-" + rand.Text()[:16]
	quoted, err := Quote(argv)
	if err != nil {
		return shellCommand{}, err
	}
	if !slices.ContainsFunc(argv, func(word string) bool { return !isPlain(word) }) {
		return shellCommand{line: "echo " + mark + "; sh -c 'exec " + quoted + "'", mark: mark}, nil
	}
	script := "exec " + quoted
	return shellCommand{
		line:   "echo " + mark + `; sh -c 'eval "$(dd bs=1 count=` + strconv.Itoa(len(script)) + ` 2>/dev/null)"'`,
		mark:   mark,
		script: script,
	}, nil
}

// marked passes on what comes after a line of its own. It is written to by one
// goroutine.
type marked struct {
	mark   string
	to     io.Writer
	before bytes.Buffer // What came before the line: of the login shell.
	began  bool         // The line has come.

	err    error
	failed chan struct{} // Closed with err.
}

func (s shellCommand) output(to io.Writer) *marked {
	return &marked{mark: s.mark, to: to, failed: make(chan struct{})}
}

// Write fails when what it passes on is not taken, or when start files print
// without an end.
func (m *marked) Write(p []byte) (n int, err error) {
	if m.err != nil {
		return 0, m.err
	}
	rest := p
	if !m.began {
		m.before.Write(p)
		before, after, found := bytes.Cut(m.before.Bytes(), []byte(m.mark+"\n"))
		if !found {
			if m.before.Len() > maxNoise {
				m.fail(ErrLongOutput)
			}
			return len(p), m.err
		}
		m.began, rest = true, bytes.Clone(after)
		m.before.Truncate(len(before))
	}
	if len(rest) > 0 {
		if _, err := m.to.Write(rest); err != nil {
			m.fail(err)
		}
	}
	return len(p), m.err
}

func (m *marked) fail(err error) {
	m.err = err
	close(m.failed)
}

// notRun reports that a login shell did not run the command.
func notRun(host, program string, stdout []byte) error {
	text := fmt.Sprintf("run %s on %s: the login shell ended without running it", program, host)
	if said := excerpt(stdout); said != "" {
		text += ", and printed: " + said
	}
	return exit.With(exit.Unreachable, errors.New(text),
		fmt.Sprintf("the user needs a shell that runs commands (chsh -s /bin/sh USER on %s), and sshd_config no ForceCommand", host))
}

// excerpt is a bounded piece of what a host printed, in one line.
func excerpt(text []byte) string {
	const most = 200
	if len(text) > most {
		text = text[:most]
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
}

// noFiles explains why SFTP did not open. What the start files of the login
// shell print comes before the server's answer and is taken for a part of it.
func (c *conn) noFiles(ctx context.Context, err error) error {
	noise := c.noise(ctx)
	if noise == "" && !strings.Contains(err.Error(), "packet too long") {
		return exit.With(exit.Unreachable, fmt.Errorf("open SFTP on %s: %w", c.name, err),
			"kstep keeps its files over SFTP: sshd_config needs `Subsystem sftp internal-sftp`")
	}
	said := ""
	if noise != "" {
		said = fmt.Sprintf(" %q", noise)
	}
	return exit.With(exit.Unreachable,
		fmt.Errorf("open SFTP on %s: a start file of the login shell prints%s before the server answers: %w", c.name, said, err),
		"~/.bashrc, ~/.zshenv, ~/.cshrc, ~/.config/fish/config.fish must print nothing without a terminal; in ~/.bashrc, begin with: case $- in *i*) ;; *) return;; esac",
		"or set in sshd_config, where no shell is started: Subsystem sftp internal-sftp")
}

// maxNoise bounds what is kept of what start files print, in bytes.
const maxNoise = 1 << 20

// noise is what the start files of the login shell print, or empty.
func (c *conn) noise(ctx context.Context) string {
	session, done, err := c.session(ctx)
	if err != nil {
		return ""
	}
	defer done()
	command, err := commandFor([]string{"true"})
	if err != nil {
		return ""
	}
	stdout := command.output(io.Discard)
	session.Stdout = stdout
	ended := make(chan error, 1)
	go func() { ended <- session.Run(command.line) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		return ""
	case <-stdout.failed:
		return "" // The deferred end of the session stops it.
	}
	if err != nil || !stdout.began {
		return ""
	}
	return excerpt(stdout.before.Bytes())
}
