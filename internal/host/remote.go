package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// remote is a host over SSH. Its connection is made again when it broke.
type remote struct {
	operator
	opts   Options
	dialer *dialer
	engine *engine.Client

	mu     sync.Mutex
	now    *conn
	failed error // Why there is no connection, where one attempt counts (Options.Once).
	closed bool
	home   string // Read once: it does not move.

	warming atomic.Pointer[attempt]
	noShell atomic.Bool // The host has no shell that is of use for files.
}

var _ Host = (*remote)(nil)

func newRemote(name string, opts Options, d *dialer) *remote {
	r := &remote{operator: operator{name: name, intercept: opts.Intercept}, opts: opts, dialer: d}
	r.operator.lost = r.drop
	r.engine = engine.New(engine.Options{
		Dial: r.dialEngine, Host: name, Observed: opts.Observed, Patience: opts.Patience,
		Around: func(ctx context.Context, what string, safe bool, request func(context.Context) error) error {
			return r.do(ctx, Op{Kind: KindEngine, Name: what}, safe, request)
		},
	})
	return r
}

func (r *remote) Name() string           { return r.name }
func (r *remote) Engine() *engine.Client { return r.engine }
func (r *remote) Files() Files           { return remoteFiles{r} }

// errClosed is a host that is used after Close.
var errClosed = errors.New("the connections are closed")

// conn returns the connection, made again if it is gone. One goroutine dials;
// the others wait for it.
func (r *remote) conn(ctx context.Context) (*conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("connect to %s: %w", r.name, errClosed)
	}
	if r.now != nil && r.now.alive() {
		return r.now, nil
	}
	if r.failed != nil {
		return nil, r.failed
	}
	r.now = nil
	r.engine.CloseIdle()
	var client *ssh.Client
	var to target
	connecting := operator{name: r.name, intercept: r.intercept, lost: func(Op, error) {}}
	err := connecting.do(ctx, Op{Kind: KindConnect, Name: "ssh"}, true, func(ctx context.Context) (err error) {
		client, to, err = r.dialer.connect(ctx, r.name)
		return err
	})
	if err != nil {
		if client != nil {
			client.Close()
		}
		if errors.Is(err, ErrConnectionLost) {
			err = exit.With(exit.Unreachable, fmt.Errorf("connect to %s: %w", r.name, err))
		}
		if r.opts.Once && engine.Ended(ctx) == nil {
			r.failed = err
		}
		return nil, err
	}
	transport := r.opts.FilesTransport
	if transport == "" && r.dialer.isNear(to.name) || r.noShell.Load() {
		transport = FilesSFTP
	}
	r.now = newConn(r.name, client, to.alive, to.patience, r.opts.Patience, transport)
	r.now.noShell = func() { r.noShell.Store(true) }
	return r.now, nil
}

// attempt is a connection that is being made in the background.
type attempt struct {
	done  chan struct{}
	err   error // Once done.
	ended time.Time
}

// fresh is how long the failure of a warmed connection is the host's last word.
const fresh = 2 * time.Second

// warm begins to connect, unless that was begun before, and to open SFTP, which
// takes as long again: the server starts a program for it.
func (r *remote) warm(ctx context.Context) {
	a := &attempt{done: make(chan struct{})}
	if !r.warming.CompareAndSwap(nil, a) {
		return
	}
	go func() {
		var c *conn
		c, a.err = r.conn(ctx)
		a.ended = time.Now()
		close(a.done)
		if a.err == nil {
			c.startScript(ctx)
			go func() { _, _ = r.engine.Ping(ctx) }() // As below.
			_, _ = c.files(ctx)                       // Operations that need it try again.
		}
	}()
}

// reach waits for the connection that warm began, or makes one. The failure of
// a warmed connection is returned to the callers that waited for it; later ones
// try again.
func (r *remote) reach(ctx context.Context) error {
	if a := r.warming.Load(); a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
			return fmt.Errorf("connect to %s: %w", r.name, engine.Ended(ctx))
		}
		if a.err != nil {
			r.warming.CompareAndSwap(a, nil)
			if time.Since(a.ended) < fresh {
				return a.err
			}
		}
	}
	_, err := r.conn(ctx)
	return err
}

// drop is called when an operation broke. It finds out whether the whole
// connection is gone or only a part of it.
func (r *remote) drop(op Op, err error) {
	r.mu.Lock()
	c := r.now
	r.mu.Unlock()
	if c == nil {
		return
	}
	if errors.Is(err, ErrConnectionLost) || !c.alive() || !c.answers(aliveWithin) {
		c.close() // It is broken.
		<-c.dead
		return // The next operation connects, and drops the engine's connections then.
	}
	switch op.Kind {
	case KindSFTP:
		c.dropFiles()
		c.dropScript()
	case KindEngine:
		r.engine.CloseIdle()
	default: // Nothing is kept open for the others.
	}
}

// renew ends the connection; the next operation makes another one.
func (r *remote) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now != nil {
		_ = r.now.close() // It is of no use any more.
		r.now = nil
	}
}

func (r *remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.engine.CloseIdle()
	if r.now == nil {
		return nil
	}
	c := r.now
	r.now = nil
	if err := c.close(); err != nil && !broken(err) {
		return fmt.Errorf("close connection to %s: %w", r.name, err)
	}
	return nil
}

func (r *remote) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var opened net.Conn
	err := r.do(ctx, Op{Kind: KindDial, Name: network}, true, func(ctx context.Context) error {
		c, err := r.conn(ctx)
		if err != nil {
			return err
		}
		opened, err = c.client.DialContext(ctx, network, address)
		return err
	})
	if err == nil {
		return opened, nil
	}
	if opened != nil {
		opened.Close()
	}
	wrapped := fmt.Errorf("reach %s from %s: %w", address, r.name, err)
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok && refused.Reason == ssh.Prohibited {
		return nil, exit.With(exit.Unreachable, fmt.Errorf("%w: %w", ErrForwardingForbidden, wrapped),
			fmt.Sprintf("allow it in sshd_config on %s (AllowTcpForwarding local), or use a health check command", r.name))
	}
	return nil, wrapped
}

// IsRefused reports whether a machine answered a Dial and nothing listens at
// the port. An SSH server reports this only in the text of its answer.
func IsRefused(err error) bool {
	failed, ok := errors.AsType[*ssh.OpenChannelError](err)
	return errors.Is(err, syscall.ECONNREFUSED) ||
		ok && failed.Reason == ssh.ConnectionFailed && strings.Contains(strings.ToLower(failed.Message), "refused")
}

// ErrForwardingForbidden is an SSH server that does not let kstep reach
// addresses from the host, or be reached from there.
var ErrForwardingForbidden = errors.New("the SSH server forbids forwarding")

func (r *remote) Run(ctx context.Context, argv []string, stdin []byte) ([]byte, error) {
	return collect(ctx, r, argv, stdin)
}

func (r *remote) RunTo(ctx context.Context, argv []string, stdin []byte, out io.Writer) error {
	if _, err := Quote(argv); err != nil {
		return fmt.Errorf("run command on %s: %w", r.name, err)
	}
	err := r.do(ctx, Op{Kind: KindRun, Name: argv[0]}, false, func(ctx context.Context) error {
		c, err := r.conn(ctx)
		if err != nil {
			return err
		}
		return c.run(ctx, argv, stdin, out)
	})
	switch _, told := errors.AsType[*CommandError](err); {
	case err == nil || told:
		return err
	case broken(err):
		return exit.With(exit.Unreachable, &CommandError{Host: r.name, Program: argv[0], Status: -1})
	default:
		return fmt.Errorf("run %s on %s: %w", argv[0], r.name, err)
	}
}

// run executes one command. When ctx ends, the session is closed; what ignores
// that goes on there, as with any SSH client.
func (c *conn) run(ctx context.Context, argv []string, stdin []byte, out io.Writer) error {
	program := argv[0]
	command, err := commandFor(argv)
	if err != nil {
		return err
	}
	session, done, err := c.session(ctx)
	if err != nil {
		return err
	}
	stdout := command.output(out)
	var stderr tailBuffer
	session.Stdin = io.MultiReader(strings.NewReader(command.script), bytes.NewReader(stdin))
	session.Stdout, session.Stderr = stdout, &stderr
	ended := make(chan error, 1)
	go func() { ended <- session.Run(command.line) }()
	select {
	case err = <-ended:
		go afterwards(session, done)
	case <-ctx.Done():
		_ = session.Signal(ssh.SIGTERM) // A courtesy; closing follows.
		done()
		return engine.Ended(ctx)
	case <-stdout.failed:
		_ = session.Signal(ssh.SIGTERM) // As above: the program waits for its output to be read.
		done()
		return stdout.err
	}
	switch {
	case stdout.err != nil:
		return stdout.err
	case err == nil && !stdout.began:
		return notRun(c.name, program, stdout.before.Bytes())
	case err == nil:
		return nil
	}
	failed := &CommandError{Host: c.name, Program: program, Status: -1, Stderr: stderr.String()}
	if !stdout.began && failed.Stderr == "" {
		failed.Stderr = excerpt(stdout.before.Bytes())
	}
	if status, ok := errors.AsType[*ssh.ExitError](err); ok {
		failed.Status, failed.Signal = status.ExitStatus(), status.Signal()
		return failed
	}
	if _, missing := errors.AsType[*ssh.ExitMissingError](err); missing {
		return exit.With(exit.Unreachable, failed)
	}
	return err
}
