package host

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// engineWay is how the engine is reached on one connection: found out by the
// first request, then remembered.
type engineWay struct {
	mu   sync.Mutex
	mode string // EngineSocket, EngineStdio, or empty.
}

// dialEngine opens a connection to the engine: the forwarded socket, or where
// that is refused `docker system dial-stdio` in a session.
func (r *remote) dialEngine(ctx context.Context) (net.Conn, error) {
	c, err := r.conn(ctx)
	if err != nil {
		return nil, err
	}
	c.engine.mu.Lock()
	mode := cmp.Or(r.opts.EngineTransport, c.engine.mode)
	if mode == "" {
		defer c.engine.mu.Unlock()
		return r.findEngine(ctx, c)
	}
	c.engine.mu.Unlock()
	if mode == EngineStdio {
		return r.dialStdio(ctx, c)
	}
	opened, err := c.client.DialContext(ctx, "unix", r.opts.DockerSocket)
	if err != nil {
		return nil, r.socketError(ctx, c, err)
	}
	return opened, nil
}

// findEngine tries the ways and remembers the one that works.
func (r *remote) findEngine(ctx context.Context, c *conn) (net.Conn, error) {
	opened, err := c.client.DialContext(ctx, "unix", r.opts.DockerSocket)
	if err == nil {
		c.engine.mode = EngineSocket
		return opened, nil
	}
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		return nil, err
	}
	if r.noSocket(ctx, c) {
		return nil, engineDown(r.name, r.opts.DockerSocket, "there is no socket")
	}
	opened, err = r.dialStdio(ctx, c)
	if err == nil {
		c.engine.mode = EngineStdio
	}
	return opened, err
}

// noSocket looks for the socket: sshd gives the same answer for one that is
// not there, may not be opened, or must not be forwarded.
func (r *remote) noSocket(ctx context.Context, c *conn) bool {
	files, err := c.files(ctx)
	if err != nil {
		return false
	}
	_, err = await(ctx, func() (fs.FileInfo, error) { return files.Stat(r.opts.DockerSocket) })
	return errors.Is(err, fs.ErrNotExist)
}

// socketError explains a refusal where the socket is the only way allowed.
func (r *remote) socketError(ctx context.Context, c *conn, err error) error {
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); !refused {
		return err
	}
	if r.noSocket(ctx, c) {
		return engineDown(r.name, r.opts.DockerSocket, "there is no socket")
	}
	return exit.With(exit.Unreachable, fmt.Errorf("reach engine on %s: the SSH server did not open %s: %w", r.name, r.opts.DockerSocket, err),
		"is the engine running, may the user open its socket, and does sshd_config allow AllowStreamLocalForwarding?")
}

func engineDown(host, socket, detail string) error {
	return exit.With(exit.Unreachable, fmt.Errorf("engine not running on %s: %s: %s", host, socket, detail),
		fmt.Sprintf("is the engine running on %s? systemctl status docker", host),
		"if its socket is elsewhere, set ssh.docker_socket")
}

func socketDenied(host, socket, detail string) error {
	if detail != "" {
		detail = ": " + detail
	}
	return exit.With(exit.Unreachable, fmt.Errorf("engine socket not permitted on %s: %s%s", host, socket, detail),
		fmt.Sprintf("add the user to group docker on %s (usermod -aG docker USER, then log in again), or set ssh.sudo: true", host))
}

// stdioAnswer bounds the first question to `docker system dial-stdio`. It is
// generous: a busy host starts a program slowly.
const stdioAnswer = 15 * time.Second

// dialStdio starts the bridge and sends the engine one request through it: the
// program starts even where the engine cannot be reached.
func (r *remote) dialStdio(ctx context.Context, c *conn) (net.Conn, error) {
	argv := []string{"docker", "--host", "unix://" + r.opts.DockerSocket, "system", "dial-stdio"}
	if r.opts.Sudo {
		argv = append([]string{"sudo", "-n"}, argv...)
	}
	command, err := commandFor(argv)
	if err != nil {
		return nil, err
	}
	bridge, err := startStdio(ctx, c, command)
	if err != nil {
		return nil, err
	}
	_, err = await(ctx, func() (struct{}, error) {
		late := time.AfterFunc(stdioAnswer, func() { bridge.Close() })
		defer late.Stop()
		return struct{}{}, bridge.ping()
	})
	if err != nil {
		bridge.Close()
		if ended := engine.Ended(ctx); ended != nil {
			return nil, ended
		}
		return nil, r.stdioError(bridge, err)
	}
	return bridge, nil
}

// stdioError knows what the shell, sudo and the docker program say.
func (r *remote) stdioError(bridge *stdioConn, err error) error {
	said := bridge.complaint()
	lower := strings.ToLower(said)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(lower, p) {
				return true
			}
		}
		return false
	}
	socket := r.opts.DockerSocket
	switch {
	case has("sudo:"):
		return exit.With(exit.Unreachable, fmt.Errorf("reach engine on %s with sudo: %s", r.name, said),
			"ssh.sudo needs sudo without a password for docker: USER ALL=(root) NOPASSWD: /usr/bin/docker")
	case has("permission denied"):
		return socketDenied(r.name, socket, said)
	case has("cannot connect to the docker daemon", "is the docker daemon running", "connection refused", "failed to connect to the docker api"):
		return engineDown(r.name, socket, said)
	case has("not found", "no such file", "unknown command"):
		return exit.With(exit.Unreachable,
			fmt.Errorf("reach engine on %s: the SSH server did not open %s, and `docker system dial-stdio` does not work there: %s", r.name, socket, said),
			fmt.Sprintf("allow AllowStreamLocalForwarding in sshd_config on %s, add the user to group docker, or install the docker program", r.name))
	case said == "":
		return exit.With(exit.Unreachable, fmt.Errorf("reach engine on %s through `docker system dial-stdio`: %w", r.name, err),
			fmt.Sprintf("is the engine running on %s? systemctl status docker", r.name))
	default:
		return exit.With(exit.Unreachable, fmt.Errorf("reach engine on %s through `docker system dial-stdio`: %s", r.name, said))
	}
}

// stdioConn is a session that carries the engine's connection.
type stdioConn struct {
	io.WriteCloser // The program's standard input.
	out            *bufio.Reader
	stderr         *lockedTail
	ended          chan struct{}
	done           func()
	command        shellCommand
}

var _ net.Conn = (*stdioConn)(nil)

func startStdio(ctx context.Context, c *conn, command shellCommand) (*stdioConn, error) {
	session, done, err := c.session(ctx)
	if err != nil {
		return nil, err
	}
	bridge := &stdioConn{stderr: &lockedTail{}, ended: make(chan struct{}), done: done, command: command}
	in, errIn := session.StdinPipe()
	out, errOut := session.StdoutPipe()
	session.Stderr = bridge.stderr
	if err := errors.Join(errIn, errOut); err != nil {
		done()
		return nil, err
	}
	bridge.WriteCloser, bridge.out = in, bufio.NewReader(out)
	if _, err := await(ctx, func() (struct{}, error) { return struct{}{}, session.Start(command.line) }); err != nil {
		done()
		return nil, err
	}
	go func() {
		_ = session.Wait() // Its complaint says more than its status.
		close(bridge.ended)
	}()
	return bridge, nil
}

func (s *stdioConn) ping() error {
	if _, err := io.WriteString(s.WriteCloser, s.command.script+"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		return err
	}
	if err := s.skipNoise(); err != nil {
		return err
	}
	resp, err := http.ReadResponse(s.out, &http.Request{Method: http.MethodHead})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// skipNoise reads what start files of the login shell print, up to the mark.
func (s *stdioConn) skipNoise() error {
	const most = 1000 // Lines.
	for range most {
		line, err := s.out.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if bytes.HasSuffix(line, []byte(s.command.mark+"\n")) {
			return nil
		}
	}
	return fmt.Errorf("the login shell prints more than %d lines", most)
}

// complaint waits for the program's end, which follows the end of its output.
func (s *stdioConn) complaint() string {
	select {
	case <-s.ended:
	case <-time.After(aliveWithin):
	}
	return s.stderr.String()
}

func (s *stdioConn) Read(p []byte) (int, error) { return s.out.Read(p) }

func (s *stdioConn) Close() error {
	s.WriteCloser.Close() // The session's end follows.
	s.done()
	return nil
}

// CloseWrite signals the engine that nothing follows.
func (s *stdioConn) CloseWrite() error { return s.WriteCloser.Close() }

func (s *stdioConn) LocalAddr() net.Addr  { return &net.UnixAddr{Net: "unix", Name: "@"} }
func (s *stdioConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "dial-stdio"} }

// A session has no deadlines; requests end by their context, which closes it.

func (s *stdioConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (s *stdioConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (s *stdioConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// lockedTail may be read while a session still writes to it.
type lockedTail struct {
	mu   sync.Mutex
	tail tailBuffer
}

func (l *lockedTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.Write(p)
}

func (l *lockedTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail.String()
}
