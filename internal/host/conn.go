package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// maxSessions leaves room below sshd's usual MaxSessions of 10: one is SFTP,
// and sshd counts those for a moment that have just ended.
const maxSessions = 6

// conn is one SSH connection and what is open on it.
type conn struct {
	name     string
	client   *ssh.Client
	sessions chan struct{} // Slots for commands and stdio engine connections.
	dead     chan struct{} // Closed when the connection is gone.

	sftpMu sync.Mutex
	sftp   *sftp.Client
	meter  *meter // Of what the SFTP server sends.

	begun   atomic.Bool // The shell for files is being started.
	shellMu sync.Mutex
	shell   *script
	noShell func() // Remembers that the host has none that is of use.
	skip    bool   // There is none, or it is of no use.
	// transport is Options.FilesTransport, or FilesSFTP where the host has no shell.
	transport string

	silence time.Duration // How long the SFTP server may be silent during a request.
	waitMu  sync.Mutex
	waiting map[*time.Timer]bool // Of those that wait for the SFTP server.

	engine engineWay
}

func newConn(name string, client *ssh.Client, keepalive, patience, silence time.Duration, transport string) *conn {
	c := &conn{
		name: name, client: client,
		sessions: make(chan struct{}, maxSessions),
		dead:     make(chan struct{}),
		silence:  silence, waiting: map[*time.Timer]bool{},
		skip: transport == FilesSFTP, transport: transport,
	}
	go func() {
		client.Wait() //nolint:errcheck // Why it ended is told by the operation that notices.
		close(c.dead)
	}()
	go c.keepAlive(keepalive, patience)
	return c
}

// keepAlive checks that the host answers, so that an operation does not wait
// for ever for a peer that vanished silently.
func (c *conn) keepAlive(every, patience time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.dead:
			return
		case <-ticker.C:
			if !c.answers(patience) {
				c.client.Close()
				return
			}
		}
	}
}

// answers reports whether the host replies in time; a refusal is a reply.
func (c *conn) answers(within time.Duration) bool {
	done := make(chan error, 1)
	go func() {
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		done <- err
	}()
	select {
	case err := <-done:
		return err == nil
	case <-c.dead:
		return false
	case <-time.After(within):
		return false
	}
}

func (c *conn) alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}

func (c *conn) close() error {
	c.sftpMu.Lock()
	if c.sftp != nil {
		c.sftp.Close()
		c.sftp = nil
	}
	c.sftpMu.Unlock()
	return c.client.Close()
}

// startScript begins to start the shell for files, beside whatever follows.
func (c *conn) startScript(ctx context.Context) {
	if c.begun.CompareAndSwap(false, true) {
		go c.script(ctx)
	}
}

// script returns the shell for files of this connection, started once; nil if
// the host has none that is of use.
func (c *conn) script(ctx context.Context) *script {
	c.shellMu.Lock()
	defer c.shellMu.Unlock()
	switch {
	case c.skip:
		return nil
	case c.shell == nil:
		shell, err := startScript(ctx, c.client, c.heard)
		if err == nil {
			c.shell = shell
			return shell
		}
		if ctx.Err() != nil {
			return nil
		}
	case c.shell.alive():
		return c.shell
	}
	c.shell, c.skip = nil, true // One that ended is not started again.
	if c.answers(aliveWithin) {
		c.noShell()
	}
	return nil
}

// dropScript ends the shell for files, for good. It reports whether there was one.
func (c *conn) dropScript() bool {
	c.shellMu.Lock()
	defer c.shellMu.Unlock()
	if c.shell == nil {
		return false
	}
	c.shell.close()
	c.shell = nil
	c.skip = true
	c.noShell()
	return true
}

// session opens a session when one is free. The function returned with it ends
// it and gives the slot back, when the server has closed its side.
func (c *conn) session(ctx context.Context) (*ssh.Session, func(), error) {
	select {
	case c.sessions <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, engine.Ended(ctx)
	}
	session, err := c.openSession(ctx)
	if err != nil {
		<-c.sessions
		return nil, nil, err
	}
	return session, sync.OnceFunc(func() {
		session.Close()
		<-c.sessions
	}), nil
}

// openSession tries again when it is refused: sshd frees an ended session only
// in its next loop, and an answer to another request shows that this loop ran.
func (c *conn) openSession(ctx context.Context) (*ssh.Session, error) {
	for attempt := 1; ; attempt++ {
		session, err := await(ctx, c.client.NewSession)
		if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
			return session, err
		}
		c.dropScript() // Where few sessions are allowed, it is the one that can be done without.
		if attempt == sessionAttempts {
			return nil, exit.With(exit.Unreachable, fmt.Errorf("open a session on %s: %w", c.name, err),
				fmt.Sprintf("sshd_config on %s must allow sessions: MaxSessions 10, no ForceCommand", c.name))
		}
		if !c.answers(aliveWithin) {
			return nil, ErrConnectionLost
		}
	}
}

// sessionAttempts is plenty: the second one usually succeeds.
const sessionAttempts = 50

// afterwards waits for the server's side of a session whose program ended. A
// request on it is answered, or fails because the session is closed.
func afterwards(session *ssh.Session, done func()) {
	for {
		if _, err := session.SendRequest("kstep-are-you-there", true, nil); err != nil {
			break
		}
	}
	done()
}

// files returns the SFTP client of this connection, opened once.
func (c *conn) files(ctx context.Context) (*sftp.Client, error) {
	c.sftpMu.Lock()
	defer c.sftpMu.Unlock()
	if c.sftp != nil {
		return c.sftp, nil
	}
	received := &meter{heard: c.heard}
	client, err := await(ctx, func() (*sftp.Client, error) { return newSFTP(c.client, received) })
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused && c.dropScript() {
		c.answers(aliveWithin) // As in openSession.
		client, err = await(ctx, func() (*sftp.Client, error) { return newSFTP(c.client, received) })
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		if !c.answers(aliveWithin) {
			return nil, fmt.Errorf("%w: %w", ErrConnectionLost, err)
		}
		return nil, c.noFiles(ctx, err)
	}
	c.sftp, c.meter = client, received
	return client, nil
}

// newSFTP is sftp.NewClient with a meter.
func newSFTP(client *ssh.Client, received *meter) (*sftp.Client, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	in, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	complaints, err := session.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	go io.Copy(io.Discard, complaints) //nolint:errcheck // Unread, they would block the server.
	received.from = out
	return sftp.NewClientPipe(received, in)
}

// patiently makes a call to the SFTP server end if nothing comes from it for too
// long. A host that is there and does not answer, such as one whose disk hangs,
// counts as a connection that broke.
func (c *conn) patiently(outer context.Context, call func(context.Context) error) error {
	silent := fmt.Errorf("%w: no answer within %s", ErrConnectionLost, c.silence)
	ctx, cancel := context.WithCancelCause(outer)
	defer cancel(nil)
	timer := time.AfterFunc(c.silence, func() { cancel(silent) })
	c.waitMu.Lock()
	c.waiting[timer] = true
	c.waitMu.Unlock()
	stop := func() {
		c.waitMu.Lock()
		defer c.waitMu.Unlock()
		timer.Stop()
		delete(c.waiting, timer)
	}
	defer stop()
	err := call(context.WithValue(ctx, unhurried{}, stop))
	if err != nil && outer.Err() == nil && context.Cause(ctx) == silent { //nolint:errorlint // This very one.
		return silent
	}
	return err
}

// unhurried is the key of the function that makes patiently wait for ever.
type unhurried struct{}

// heard is called when the SFTP server has sent something.
func (c *conn) heard() {
	c.waitMu.Lock()
	defer c.waitMu.Unlock()
	for timer := range c.waiting {
		timer.Reset(c.silence)
	}
}

// metered is the meter of an SFTP client, unless another one has taken its place.
func (c *conn) metered(client *sftp.Client) (*meter, bool) {
	c.sftpMu.Lock()
	defer c.sftpMu.Unlock()
	return c.meter, c.sftp == client
}

// meter counts what is read through it, for those who set a limit.
type meter struct {
	from  io.Reader
	heard func()

	mu     sync.Mutex
	limits map[*limit]bool
}

// limit is how much more may come until stop is called.
type limit struct {
	left int
	stop func()
}

// atMost calls stop once more than this many bytes have come, of whatever
// answer. The function returned takes the limit away.
func (m *meter) atMost(bytes int, stop func()) (off func()) {
	l := &limit{bytes, stop}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limits == nil {
		m.limits = map[*limit]bool{}
	}
	m.limits[l] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.limits, l)
	}
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.from.Read(p)
	m.heard()
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.limits {
		if l.left -= n; l.left < 0 {
			l.stop()
		}
	}
	return n, err
}

// aliveWithin is how long a host may take to show that a connection under
// which an operation broke still works.
const aliveWithin = 3 * time.Second

// dropFiles forgets an SFTP client whose server ended while the connection
// went on.
func (c *conn) dropFiles() {
	c.sftpMu.Lock()
	defer c.sftpMu.Unlock()
	if c.sftp != nil {
		c.sftp.Close()
		c.sftp = nil
	}
}
