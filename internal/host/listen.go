package host

import (
	"context"
	"fmt"
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
		opened, err = await(ctx, func() (net.Listener, error) { return c.client.Listen("tcp", loopback) })
		return err
	})
	if err == nil {
		return opened, nil
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

// loopback is the host's own address, which only programs on it reach, at any free port.
const loopback = "127.0.0.1:0"
