package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// dialer opens SSH connections.
type dialer struct {
	opts    Options
	configs sshConfigs
	keys    *hostKeys
	ring    *keyring
	slots   chan struct{} // As many as may be opened at once.
}

func newDialer(opts Options) (*dialer, error) {
	configs, err := readConfigs(opts)
	if err != nil {
		return nil, err
	}
	keys, err := newHostKeys(opts)
	if err != nil {
		return nil, err
	}
	return &dialer{
		opts: opts, configs: configs, keys: keys,
		ring:  &keyring{opts: opts},
		slots: make(chan struct{}, max(opts.MaxDials, 1)),
	}, nil
}

// connect opens a connection, with new attempts for what may heal by itself.
func (d *dialer) connect(ctx context.Context, entry string) (*ssh.Client, error) {
	t, err := d.configs.resolve(entry, d.opts, false)
	if err != nil {
		return nil, err
	}
	pause := d.opts.RetryPause
	for attempt := 0; ; attempt++ {
		client, err := d.attempt(ctx, t)
		if err == nil {
			return client, nil
		}
		if ended := engine.Ended(ctx); ended != nil {
			return nil, fmt.Errorf("connect to %s: %w", entry, ended)
		}
		if attempt >= d.opts.ConnectRetries || final(err) {
			return nil, d.explain(t, attempt+1, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", entry, engine.Ended(ctx))
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// final tells errors that a new attempt cannot heal.
func final(err error) bool {
	_, classified := errors.AsType[*exit.Error](err)
	return classified || errors.Is(err, errHostKey)
}

func (d *dialer) explain(t target, attempts int, err error) error {
	if final(err) {
		return err
	}
	times := ""
	if attempts > 1 {
		times = fmt.Sprintf(" (%d attempts)", attempts)
	}
	var hints []string
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		hints = []string{fmt.Sprintf("no address for %s: is the name right, and does this machine's DNS know it?", dns.Name)}
	} else {
		hints = []string{fmt.Sprintf("is %s up, is port %d open to this machine, does sshd run there?", t.host, t.port)}
	}
	return exit.With(exit.Unreachable, fmt.Errorf("connect to %s%s: %w", t.name, times, err), hints...)
}

// attempt is one try of the whole way, within the time-out.
func (d *dialer) attempt(ctx context.Context, t target) (*ssh.Client, error) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return nil, engine.Ended(ctx)
	}
	timeout := fmt.Errorf("no answer within %s", d.opts.ConnectTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, d.opts.ConnectTimeout, timeout)
	defer cancel()
	client, err := d.through(ctx, t, nil)
	if err != nil && errors.Is(engine.Ended(ctx), timeout) {
		return nil, timeout
	}
	return client, err
}

// through opens the connections to the jump hosts and the one that they lead
// to. seen guards against jump hosts that jump through each other.
func (d *dialer) through(ctx context.Context, t target, seen []string) (*ssh.Client, error) {
	var last *ssh.Client
	for i, entry := range t.jumps {
		hop, err := d.configs.resolve(entry, d.opts, true)
		if err != nil {
			return nil, err
		}
		for _, one := range seen {
			if one == hop.address() {
				return nil, exit.With(exit.Config, fmt.Errorf("jump host %s leads to itself", entry), "look at ProxyJump in ssh_config")
			}
		}
		if i > 0 {
			hop.jumps = nil // The way to it is the list.
		}
		next, err := d.step(ctx, last, hop, append(seen, t.address(), hop.address()))
		if err != nil {
			return nil, fmt.Errorf("jump host %s: %w", entry, err)
		}
		last = next
	}
	t.jumps = nil
	return d.step(ctx, last, t, append(seen, t.address()))
}

// step opens one connection, from this machine or from the host before it.
func (d *dialer) step(ctx context.Context, from *ssh.Client, t target, seen []string) (*ssh.Client, error) {
	if from == nil && len(t.jumps) > 0 {
		return d.through(ctx, t, seen)
	}
	var refusal error
	for _, algorithms := range d.keys.algorithms(t) {
		client, err := d.handshake(ctx, from, t, algorithms)
		switch {
		case err == nil:
			return client, nil
		case errors.Is(err, errHostKey):
			refusal = err // With a pin, a key of another type may fit.
		case isNegotiation(err):
			if refusal == nil && len(algorithms) > 0 && d.keys.pin(t) == nil {
				refusal = d.keys.typeChanged(t, err)
			}
		default:
			closeHop(from)
			return nil, err
		}
	}
	closeHop(from)
	if refusal == nil {
		refusal = hostKeyError(fmt.Errorf("host key of %s: the host offers no type that kstep can check", t.name))
	}
	return nil, refusal
}

func isNegotiation(err error) bool {
	_, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	return ok || strings.Contains(err.Error(), "no common algorithm for host key")
}

func closeHop(from *ssh.Client) {
	if from != nil {
		from.Close()
	}
}

func (d *dialer) handshake(ctx context.Context, from *ssh.Client, t target, algorithms []string) (*ssh.Client, error) {
	keys, err := d.ring.forTarget(t)
	if err != nil {
		return nil, err
	}
	var raw net.Conn
	if from == nil {
		raw, err = (&net.Dialer{}).DialContext(ctx, "tcp", t.address())
	} else {
		raw, err = from.DialContext(ctx, "tcp", t.address())
	}
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	var refusal error
	verified := false
	conn, channels, requests, err := ssh.NewClientConn(raw, t.address(), &ssh.ClientConfig{
		User: t.user,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(keys.signers...)},
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			refusal = d.keys.check(t, remote, key)
			verified = refusal == nil
			return refusal
		},
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-kstep",
	})
	switch {
	case err == nil:
		client := ssh.NewClient(conn, channels, requests)
		if from != nil {
			go func() {
				client.Wait() //nolint:errcheck // Only the moment matters: nobody else needs the hop.
				from.Close()
			}()
		}
		return client, nil
	case refusal != nil:
		raw.Close()
		return nil, refusal
	case verified && ctx.Err() == nil && refusedLogin(err):
		raw.Close()
		return nil, keys.refused(t)
	default:
		raw.Close()
		return nil, err
	}
}

// refusedLogin tells an answer to the login from a connection that broke. The
// library has no type for it.
func refusedLogin(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "uthentication failures") ||
		strings.Contains(text, "too many authentication")
}
