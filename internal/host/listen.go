package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// Listen implements Host: the SSH server accepts the connections and forwards them (RFC
// 4254, 7.1). It ends with the SSH connection.
func (r *remote) Listen(ctx context.Context) (net.Listener, error) {
	var opened net.Listener
	err := r.do(ctx, Op{Kind: KindListen, Name: "tcp"}, true, func(ctx context.Context) error {
		c, err := r.conn(ctx)
		if err != nil {
			return err
		}
		opened, err = await(ctx, func() (net.Listener, error) {
			l, err := c.client.Listen("tcp", loopback)
			if err == nil && ctx.Err() != nil { // It comes too late for the one who wanted it.
				return nil, errors.Join(context.Cause(ctx), l.Close())
			}
			return l, err
		})
		return err
	})
	if err == nil {
		return forwarded{opened}, nil
	}
	if opened != nil {
		opened.Close()
	}
	wrapped := fmt.Errorf("listen on %s: %w", r.name, err)
	if strings.Contains(err.Error(), "request denied by peer") { // x/crypto/ssh has no type for it.
		return nil, exit.With(exit.Unreachable, fmt.Errorf("%w: %w", ErrForwardingForbidden, wrapped),
			fmt.Sprintf("allow it in sshd_config on %s (AllowTcpForwarding yes)", r.name))
	}
	return nil, wrapped
}

// forwarded accepts until the SSH connection ends. A connection that was over before it was
// accepted is none of the listener's own: the next one is waited for, because the client
// of SSH stands still for one that is not accepted.
type forwarded struct{ net.Listener }

func (f forwarded) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err == nil {
			return withDeadlines(conn), nil
		}
		if errors.Is(err, io.EOF) {
			return nil, err
		}
	}
}

// withDeadlines gives a connection deadlines, which those of SSH do not have: an HTTP server
// waits for ever at the end of an answer without them.
func withDeadlines(far net.Conn) net.Conn {
	near, inner := net.Pipe()
	go func() {
		io.Copy(inner, far) //nolint:errcheck // The reader sees the end.
		inner.Close()
	}()
	go func() {
		io.Copy(far, inner) //nolint:errcheck // The writer sees the end.
		far.Close()
	}()
	return near
}

// Listen implements Host.
func (l *local) Listen(ctx context.Context) (net.Listener, error) {
	var opened net.Listener
	err := l.do(ctx, Op{Kind: KindListen, Name: "tcp"}, false, func(ctx context.Context) (err error) {
		opened, err = (&net.ListenConfig{}).Listen(ctx, "tcp", loopback)
		return err
	})
	if err != nil && opened != nil {
		opened.Close()
	}
	return opened, err
}

// loopback is the host's own address, at any free port. Only programs on the host reach it,
// unless its sshd_config has GatewayPorts yes.
const loopback = "127.0.0.1:0"
