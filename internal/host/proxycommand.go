package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/platform"
	"github.com/kstep/kstep/internal/sshconfig"
)

// commandConn is a connection through a ProxyCommand: the program's standard
// input and output.
type commandConn struct {
	where  string // Of the command in ssh_config.
	in     *os.File
	out    *os.File
	cmd    *exec.Cmd
	stderr *lockedTail
	ended  chan struct{}
	err    error // How it ended, then.
	once   sync.Once
}

var _ net.Conn = (*commandConn)(nil)

// startCommand runs a ProxyCommand as ssh does: by the user's shell, which it
// replaces. It has a process group of its own, so that its end is the end of
// all that it started, and a Ctrl-C at the terminal does not cut the connection
// while kstep still needs it.
func (d *dialer) startCommand(t target) (*commandConn, error) {
	v, _ := t.settings.Value("proxycommand")
	c := &commandConn{where: v.Where(), stderr: &lockedTail{}, ended: make(chan struct{})}
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), ourIn.Close())
	}
	c.in, c.out = ourIn, ourOut
	c.cmd = exec.Command(sshconfig.Shell(d.opts.lookup), "-c", "exec "+t.command)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirIn, theirOut, c.stderr
	platform.NewGroup(c.cmd)
	c.cmd.WaitDelay = 100 * time.Millisecond // A child of it may hold its errors open.
	err = c.cmd.Start()
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		ourIn.Close()
		ourOut.Close()
		return nil, fmt.Errorf("ProxyCommand of %s: %w", c.where, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *commandConn) Read(p []byte) (int, error)  { return c.out.Read(p) }
func (c *commandConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// hangup is how long a program may take to end when its connection does.
const hangup = time.Second

// Close ends the program with all that it started.
func (c *commandConn) Close() error {
	c.once.Do(func() {
		c.in.Close()
		c.out.Close()
		c.signal(syscall.SIGHUP)
		select {
		case <-c.ended:
		case <-time.After(hangup):
		}
		c.signal(syscall.SIGKILL)
	})
	return nil
}

// signal reaches the whole group, which may be gone already.
func (c *commandConn) signal(s syscall.Signal) { _ = platform.SignalGroup(c.cmd, s) }

// explain adds to the failure of a connection what the program said, and how it
// ended if it did.
func (c *commandConn) explain(ctx context.Context, err error) error {
	select {
	case <-c.ended:
	case <-ctx.Done():
	case <-time.After(hangup): // It closed its output and goes on.
	}
	text := fmt.Sprintf("ProxyCommand of %s", c.where)
	select {
	case <-c.ended:
		if status, ok := errors.AsType[*exec.ExitError](c.err); ok {
			text += " ended with " + status.ProcessState.String()
		} else {
			text += " ended"
		}
	default:
	}
	if said := c.stderr.String(); said != "" {
		text += ": " + strings.ReplaceAll(said, "\n", "; ")
	}
	return &commandError{text, err}
}

// commandError is a connection that a program did not make.
type commandError struct {
	text string
	err  error
}

func (e *commandError) Error() string { return e.text + ": " + e.err.Error() }

func (e *commandError) Unwrap() error { return e.err }

// nowhere is the address of a connection whose other end only a program knows.
func nowhere() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }

func (c *commandConn) LocalAddr() net.Addr  { return nowhere() }
func (c *commandConn) RemoteAddr() net.Addr { return nowhere() }

func (c *commandConn) SetDeadline(t time.Time) error {
	return errors.Join(c.in.SetDeadline(t), c.out.SetDeadline(t))
}
func (c *commandConn) SetReadDeadline(t time.Time) error  { return c.out.SetReadDeadline(t) }
func (c *commandConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }
