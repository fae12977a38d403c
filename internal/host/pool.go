package host

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Pool holds one connection per host, opened at its first use. Its methods may
// be called from several goroutines at once.
type Pool struct {
	opts Options

	mu     sync.Mutex
	dialer *dialer // Made for the first host over SSH; reads files.
	hosts  map[string]Host
	stops  []context.CancelFunc // Of what Warm began.
	closed bool
}

// NewPool makes a pool. It reads no file and opens no connection yet.
func NewPool(opts Options) *Pool {
	if opts.RetryPause <= 0 {
		opts.RetryPause = 500 * time.Millisecond
	}
	if opts.Keepalive <= 0 {
		opts.Keepalive = 15 * time.Second
	}
	if opts.Patience <= 0 {
		opts.Patience = time.Minute
	}
	if opts.ConnectTimeout <= 0 {
		opts.ConnectTimeout = 10 * time.Second
	}
	return &Pool{opts: opts, hosts: map[string]Host{}}
}

// Get returns the host of this name, as the config writes it, and connects to
// it if that was not done yet. The pool closes it, not the caller. A host that
// could not be reached is tried again by the next Get.
func (p *Pool) Get(ctx context.Context, name string) (Host, error) {
	h, err := p.host(name)
	if err != nil {
		return nil, err
	}
	if r, ok := h.(*remote); ok {
		if err := r.reach(ctx); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Warm begins to connect to hosts that will soon be needed, all at once, and
// returns at once. Failures are returned by the Get that follows, which waits
// for the attempt and does not make another one.
func (p *Pool) Warm(ctx context.Context, names []string) {
	ctx, stop := context.WithCancel(ctx)
	p.mu.Lock()
	p.stops = append(p.stops, stop)
	p.mu.Unlock()
	for _, name := range names {
		h, err := p.host(name)
		if err != nil {
			continue // So will Get.
		}
		if r, ok := h.(*remote); ok {
			r.warm(ctx)
		}
	}
}

func (p *Pool) host(name string) (Host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if h, ok := p.hosts[name]; ok {
		return h, nil
	}
	if name == Local {
		p.hosts[name] = newLocal(p.opts)
		return p.hosts[name], nil
	}
	if p.dialer == nil {
		d, err := newDialer(p.opts)
		if err != nil {
			return nil, err
		}
		p.dialer = d
	}
	p.hosts[name] = newRemote(name, p.opts, p.dialer)
	return p.hosts[name], nil
}

// Renew has the next use of a host log in anew: what a user may do is settled at
// the login.
func (p *Pool) Renew(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.hosts[name].(*remote); ok {
		r.renew()
	}
}

// Close ends all connections. It is safe to call twice.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, stop := range p.stops {
		stop()
	}
	var errs []error
	for _, h := range p.hosts {
		errs = append(errs, h.Close())
	}
	clear(p.hosts)
	if p.dialer != nil {
		p.dialer.ring.close()
	}
	return errors.Join(errs...)
}

// Address is the name or the address to which SSH connects for a host, after
// ssh_config; empty for Local. It connects to nothing.
func (p *Pool) Address(ctx context.Context, name string) (string, error) {
	if _, err := p.host(name); err != nil || name == Local {
		return "", err
	}
	t, err := p.dialer.resolve(ctx, name, false)
	return t.host, err
}
