package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/sshconfig"
)

// dialer opens SSH connections.
type dialer struct {
	opts    Options
	configs *sshconfig.Config
	given   *hostKeys // From the options; nil if the usual files count.
	ring    *keyring
	slots   chan struct{} // As many as may be opened at once.

	mu     sync.Mutex
	usual  map[string]*hostKeys // By the files.
	warned map[Warning]bool

	distances sync.Map // How long the last handshake of TCP took, by name.
}

func newDialer(opts Options) (*dialer, error) {
	d := &dialer{
		opts: opts, configs: configsOf(opts),
		ring:  &keyring{opts: opts},
		slots: make(chan struct{}, max(opts.MaxDials, 1)),
		usual: map[string]*hostKeys{}, warned: map[Warning]bool{},
	}
	if len(opts.KnownHosts) > 0 || opts.UserKnownHosts == nil {
		keys, err := newHostKeys(opts.KnownHosts, opts.HostKeys)
		if err != nil {
			return nil, err
		}
		d.given = keys
	}
	return d, nil
}

// connect opens a connection, with new attempts for what may heal by itself.
func (d *dialer) connect(ctx context.Context, entry string) (*ssh.Client, target, error) {
	t, err := d.resolve(ctx, entry, false)
	if err != nil {
		if ended := engine.Ended(ctx); ended != nil {
			err = fmt.Errorf("connect to %s: %w", entry, ended)
		}
		return nil, t, err
	}
	client, err := d.persist(ctx, t)
	return client, t, err
}

func (d *dialer) persist(ctx context.Context, t target) (*ssh.Client, error) {
	pause := d.opts.RetryPause
	for attempt := 0; ; attempt++ {
		client, err := d.attempt(ctx, t)
		if err == nil {
			return client, nil
		}
		if ended := engine.Ended(ctx); ended != nil {
			return nil, fmt.Errorf("connect to %s: %w", t.name, ended)
		}
		_, silent := errors.AsType[noAnswer](err)
		if attempt >= t.retries || final(err) || silent && d.opts.Once {
			return nil, d.explain(t, attempt+1, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", t.name, engine.Ended(ctx))
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// final reports whether a new attempt cannot help.
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
	dns, unnamed := errors.AsType[*net.DNSError](err)
	switch {
	case unnamed:
		hints = []string{fmt.Sprintf("no address for %s: is the name right, and does this machine's DNS know it?", dns.Name)}
	case t.command != "":
		hints = []string{fmt.Sprintf("a program makes this connection: does it work without kstep? ssh %s true", t.alias)}
	default:
		hints = []string{fmt.Sprintf("is %s up, is port %d open to this machine, does sshd run there?", t.host, t.port)}
	}
	return exit.With(exit.Unreachable, fmt.Errorf("connect to %s%s: %w", t.name, times, err), hints...)
}

// noAnswer is an attempt that took too long.
type noAnswer struct{ within time.Duration }

func (n noAnswer) Error() string { return fmt.Sprintf("no answer within %s", n.within) }

// attempt is one try of the whole way, within the time-out.
func (d *dialer) attempt(ctx context.Context, t target) (*ssh.Client, error) {
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return nil, engine.Ended(ctx)
	}
	timeout := noAnswer{t.timeout}
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, timeout)
	defer cancel()
	client, err := d.through(ctx, t, nil)
	if err != nil && errors.Is(engine.Ended(ctx), timeout) {
		if said, ok := errors.AsType[*commandError](err); ok {
			return nil, fmt.Errorf("%w: %s", timeout, said.text)
		}
		return nil, timeout
	}
	return client, err
}

// through opens the connections to the jump hosts and the one that they lead
// to. seen guards against jump hosts that jump through each other.
func (d *dialer) through(ctx context.Context, t target, seen []string) (*ssh.Client, error) {
	var last *ssh.Client
	for i, entry := range t.jumps {
		hop, err := d.resolve(ctx, entry, true)
		if err != nil {
			return nil, err
		}
		for _, one := range seen {
			if one == hop.address() {
				return nil, exit.With(exit.Config, fmt.Errorf("jump host %s leads to itself", entry), "look at ProxyJump in ssh_config")
			}
		}
		if i > 0 {
			hop.jumps, hop.command = nil, "" // The way to it is the list.
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
	keys, err := d.hostKeys(t)
	if err != nil {
		closeHop(from)
		return nil, err
	}
	choices, err := t.hostKeyAlgorithms(keys.algorithms(t))
	if err != nil {
		closeHop(from)
		return nil, err
	}
	var refusal error
	for _, algorithms := range choices {
		client, err := d.handshake(ctx, from, t, keys, algorithms)
		switch {
		case err == nil:
			return client, nil
		case errors.Is(err, errHostKey):
			refusal = err // With a pin, a key of another type may fit.
		case isNegotiation(err):
			if refusal == nil && len(algorithms) > 0 && keys.pin(t) == nil {
				refusal = keys.typeChanged(t, err)
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
	return strings.Contains(err.Error(), "no common algorithm for host key")
}

func closeHop(from *ssh.Client) {
	if from != nil {
		from.Close()
	}
}

func (d *dialer) handshake(ctx context.Context, from *ssh.Client, t target, keys *hostKeys, algorithms []string) (*ssh.Client, error) {
	offered, err := d.ring.forTarget(t)
	if err != nil {
		return nil, err
	}
	cryptography, err := t.cryptography()
	if err != nil {
		return nil, err
	}
	raw, err := d.open(ctx, from, t)
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: closing the connection ends it.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	var refusal error
	var answers login
	verified := false
	conn, channels, requests, err := ssh.NewClientConn(raw, t.address(), &ssh.ClientConfig{
		Config: cryptography,
		User:   t.user,
		Auth:   []ssh.AuthMethod{ssh.PublicKeys(offered.signers...)},
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			refusal = keys.check(t, remote, key)
			verified = refusal == nil
			return refusal
		},
		HostKeyAlgorithms: algorithms,
		AuthCallback:      answers.watch,
		ClientVersion:     "SSH-2.0-kstep",
	})
	if err == nil {
		client := ssh.NewClient(conn, channels, requests)
		if from != nil {
			go func() {
				client.Wait() //nolint:errcheck // Only the moment matters: nobody else needs the hop.
				from.Close()
			}()
		}
		return client, nil
	}
	negotiation, isNegotiated := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	switch command, is := raw.(*commandConn); {
	case refusal != nil:
		err = refusal
	case verified && ctx.Err() == nil && refusedLogin(err):
		err = offered.refused(t, answers, err)
	case isNegotiated && !isNegotiation(err):
		err = t.tooWeak(negotiation)
	case is && !isNegotiation(err):
		err = command.explain(ctx, err)
	}
	raw.Close()
	return nil, err
}
