package lease

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync/atomic"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Guard stands around every remote operation and lets none change a host on the
// strength of a lease that may have passed on: it looks at the host's fence,
// and queries the lease host when the last proof is too old, as it is after the
// process stood still. What is left is the moment between the last look at the
// clock and the arrival of one request.
//
// The zero Guard lets everything pass, until it is given a hold.
type Guard struct{ now atomic.Pointer[guarded] }

type guarded struct {
	hold   *Hold
	fences func(ctx context.Context, host string) (Fence, error)
}

// Hold makes changes depend on the hold; nil lets everything pass again. fences
// returns a host's fence.
func (g *Guard) Hold(h *Hold, fences func(ctx context.Context, host string) (Fence, error)) {
	if h == nil {
		g.now.Store(nil)
		return
	}
	g.now.Store(&guarded{h, fences})
}

// Around is a host.Intercept that guards what outer lets through, if there is
// an outer one.
func (g *Guard) Around(outer host.Intercept) host.Intercept {
	if outer == nil {
		return g.intercept
	}
	return func(ctx context.Context, op host.Op, next func(context.Context) error) error {
		return outer(ctx, op, func(ctx context.Context) error { return g.intercept(ctx, op, next) })
	}
}

func (g *Guard) intercept(ctx context.Context, op host.Op, next func(context.Context) error) error {
	now := g.now.Load()
	if now == nil || !changes(op) {
		return next(ctx)
	}
	fence, err := now.fences(ctx, op.Host)
	if err != nil {
		return err
	}
	// Leases and fences lie in one folder. They are the means of the guard.
	if strings.HasPrefix(op.Path, path.Dir(fence.Dir)+"/") {
		return next(ctx)
	}
	for {
		if err := now.permit(ctx, op.Host, fence); err != nil {
			return err
		}
		if op.Kind != host.KindSFTP {
			return next(ctx)
		}
		// A file is written in steps, and the last one counts: when the process stood
		// still before it, everything is checked and done again.
		err := next(&standing{ctx, now.hold})
		if !errors.Is(err, errStood) || ctx.Err() != nil {
			return err
		}
	}
}

func (g *guarded) permit(ctx context.Context, host string, fence Fence) error {
	if err := g.hold.pass(ctx, host, fence, true); err != nil {
		return err
	}
	// Last, because a look at the fence may have taken its time.
	return g.hold.prove(ctx, g.hold.fresh())
}

// ReadOnly is a host.Intercept that lets nothing change a host.
func ReadOnly(outer host.Intercept) host.Intercept {
	refuse := func(ctx context.Context, op host.Op, next func(context.Context) error) error {
		if changes(op) {
			return exit.Errorf(exit.Internal, "refused to change %s: %s %s %s", op.Host, op.Kind, op.Name, op.Path)
		}
		return next(ctx)
	}
	if outer == nil {
		return refuse
	}
	return func(ctx context.Context, op host.Op, next func(context.Context) error) error {
		return outer(ctx, op, func(ctx context.Context) error { return refuse(ctx, op, next) })
	}
}

// changes reports whether an operation may change a host.
func changes(op host.Op) bool {
	switch op.Kind {
	case host.KindEngine:
		return !strings.HasPrefix(op.Name, "GET ") && !strings.HasPrefix(op.Name, "HEAD ")
	case host.KindSFTP:
		switch op.Name {
		case "write", "create", "append", "remove", "mkdir":
			return true
		}
		return false
	case host.KindRun:
		return op.Name != "find" // kstep's own finds only look.
	case host.KindConnect, host.KindDial, host.KindListen:
		return false
	}
	return true
}

// errStood is a process that stood still while it wrote.
var errStood = errors.New("the process stood still for too long")

// standing is a context that also ends when the lease was not proven for too
// long. A timer is not enough: when a process wakes up, its goroutines run in
// any order.
type standing struct {
	context.Context //nolint:containedctx // It is one.

	hold *Hold
}

func (s *standing) Err() error {
	if err := s.Context.Err(); err != nil {
		return err
	}
	s.hold.mu.Lock()
	defer s.hold.mu.Unlock()
	if elapsed(s.hold.proven, s.hold.clock()) >= max(s.hold.lease.Holder.TTL, MinTTL)/2 {
		return errStood
	}
	return nil
}
