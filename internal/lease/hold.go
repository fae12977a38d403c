package lease

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// Hold is a lease that this process is in, with what it knows to be true of it
// and since when. Its methods may be called from several goroutines at once.
type Hold struct {
	store   Store
	entered bool
	clock   func() time.Time

	mu     sync.Mutex // One question to the lease host at a time.
	lease  Lease
	proven time.Time // Before the request was sent whose answer said: still ours.
	peeked time.Time // The same, of the last look on the lease host.
	lost   error     // Once another release had the lease. There is no way back.

	fences sync.Map // By host: *fenced.
}

// NewHold is the hold on a lease that was acquired. began is a time before the
// acquisition.
func NewHold(s Store, got Acquired, began time.Time) *Hold {
	return &Hold{store: s, entered: got.Entered, clock: time.Now, lease: got.Lease, proven: began, peeked: began}
}

// Entered reports whether the release had the lease before this process.
func (h *Hold) Entered() bool { return h.entered }

// Free releases the lease. With end, other jobs of the release stop.
func (h *Hold) Free(ctx context.Context, end bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != nil {
		return nil // It is not ours to free.
	}
	if end {
		return h.store.End(ctx, h.lease, h.lease.Holder.By)
	}
	return h.store.Release(ctx, h.lease)
}

// Park leaves the lease to the release's next job, or to a newer release.
func (h *Hold) Park(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != nil {
		return nil
	}
	return h.store.Park(ctx, h.lease)
}

// Beat renews the lease until ctx ends or another release has it.
func (h *Hold) Beat(ctx context.Context) error {
	tick := time.NewTicker(max(h.ttl(), MinTTL) / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// Another failure is no proof of loss; the Guard checks again before
			// anything is changed.
			if err := h.prove(ctx, 0); exit.CodeOf(err) == exit.LeaseHeld && ctx.Err() == nil {
				return err
			}
		}
	}
}

// Prove sees that the lease is still the release's, unless that was known not
// long ago.
func (h *Hold) Prove(ctx context.Context) error { return h.prove(ctx, h.fresh()) }

func (h *Hold) ttl() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease.Holder.TTL
}

// prove checks with the lease host that the lease is still ours, unless that
// was known less than age ago.
func (h *Hold) prove(ctx context.Context, age time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost != nil {
		return h.lost
	}
	if elapsed(h.proven, h.clock()) < age {
		return nil
	}
	before := h.clock()
	renewed, err := h.store.Renew(ctx, h.lease)
	if exit.CodeOf(err) == exit.LeaseHeld {
		h.lost = err
		return err
	}
	if err != nil {
		return fmt.Errorf("see whether the lease is still held: %w", err)
	}
	h.lease, h.proven, h.peeked = renewed, before, before
	return nil
}

// fresh is how old a proof may be for a change to be made on its strength. A
// lease cannot pass on before its whole TTL is over; the rest is for the change
// to arrive.
func (h *Hold) fresh() time.Duration { return max(h.ttl(), MinTTL) / 2 }

// elapsed is the longer of the two times that the monotonic and the wall clock
// measured: the first may stop while a machine sleeps, the other may be set
// back.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// fenceFresh is how long a look at a host's fence counts. It costs one request.
const fenceFresh = 2 * time.Second

// fenced is what is known of one host's fence.
type fenced struct {
	mu     sync.Mutex
	looked time.Time
	raised int // The token that is remembered there.
}

// Check refuses a host on which a newer release has been: one request, and none
// if that was known a moment ago. It changes nothing.
func (h *Hold) Check(ctx context.Context, host string, fence Fence) error {
	return h.pass(ctx, host, fence, false)
}

// peek checks on the lease host that no process took a higher number since.
func (h *Hold) peek(ctx context.Context) error {
	h.mu.Lock()
	fresh := h.lost == nil && elapsed(h.peeked, h.clock()) < fenceFresh
	now := h.lease
	h.mu.Unlock()
	if fresh {
		return nil
	}
	looked := h.clock()
	seen, err := h.store.look(ctx)
	if err != nil {
		return err
	}
	if len(seen.leases) == 0 || seen.leases[0].token != now.Token {
		if err := h.prove(ctx, 0); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peeked = looked
	return h.lost
}

// pass is Check; with change it also makes the host remember the token.
func (h *Hold) pass(ctx context.Context, host string, fence Fence, change bool) error {
	if host == h.store.Host { // It has the lease itself.
		if !change {
			return nil
		}
		return h.peek(ctx)
	}
	known, _ := h.fences.LoadOrStore(host, &fenced{})
	f := known.(*fenced) //nolint:forcetypeassert // Nothing else is stored.
	f.mu.Lock()
	defer f.mu.Unlock()
	now := h.now()
	if elapsed(f.looked, h.clock()) < fenceFresh && (!change || f.raised == now.Token) {
		return nil
	}
	looked := h.clock()
	top, all, err := fence.marks(ctx)
	if err != nil {
		return err
	}
	if top.token > now.Token && top.release != now.Holder.Release {
		if now, err = h.beyond(ctx, host, top); err != nil {
			return err
		}
	}
	f.looked = looked
	if top.release == now.Holder.Release && top.token >= now.Token {
		f.raised = now.Token
		return nil
	}
	if !change {
		return nil
	}
	if err := fence.raise(ctx, now, all); err != nil {
		return err
	}
	f.raised = now.Token
	return nil
}

func (h *Hold) now() Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lease
}

// beyond judges a host that has seen a higher token of another release. Either
// this process was overtaken, or the lease began to count anew: its host was
// exchanged, or its folder removed. Then the release that is newer and holds
// the lease takes a number above all that hosts remember.
func (h *Hold) beyond(ctx context.Context, host string, top mark) (Lease, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	refused := exit.With(exit.LeaseHeld, fmt.Errorf("fenced off: release %s has been on %s with the later token %d", top.release, host, top.token),
		"nothing more is changed; if this version is the one you want, begin a new release of it: kstep deploy, or --new-release at the first stage of a pipeline")
	if h.lost != nil {
		return h.lease, h.lost
	}
	before := h.clock()
	renewed, err := h.store.Renew(ctx, h.lease)
	switch {
	case exit.CodeOf(err) == exit.LeaseHeld, err == nil && top.release > h.lease.Holder.Release:
		h.lost = refused
		return h.lease, refused
	case err != nil:
		return h.lease, err
	}
	if renewed.Token <= top.token {
		renewed.Token = top.token + 1
		won, err := h.store.create(ctx, renewed)
		if err != nil {
			return h.lease, err
		}
		if !won {
			return h.lease, refused
		}
	}
	h.lease, h.proven = renewed, before
	return renewed, nil
}
