package host

import (
	"context"
	"sync"
	"sync/atomic"
)

// underway is the key of the travel in a context.
type underway struct{}

// travel is how the first of two operations travels.
type travel struct {
	once  sync.Once
	sent  chan struct{} // Closed once it is on its way to the shell.
	times atomic.Int32  // How often it was sent there.
	other atomic.Bool   // It was done in another way, at least in part.
}

func (t *travel) begin() {
	t.times.Add(1)
	t.once.Do(func() { close(t.sent) })
}

// sent is called when an operation is on its way to the shell.
func sent(ctx context.Context) {
	if t, ok := ctx.Value(underway{}).(*travel); ok {
		t.begin()
	}
}

// sentElsewhere is called when an operation goes another way.
func sentElsewhere(ctx context.Context) {
	if t, ok := ctx.Value(underway{}).(*travel); ok {
		t.other.Store(true)
	}
}

// InOrder does one operation on a file of a host, and then a look at the same
// host: look finds what the operation left. Where both go to the host's shell,
// which takes one after the other, the look does not wait for the operation's
// answer. What it found then counts only if the operation went well at its first
// attempt; else it is made again, or not at all. So it must change nothing.
func InOrder(ctx context.Context, operation, look func(context.Context) error) error {
	t := &travel{sent: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- operation(context.WithValue(ctx, underway{}, t)) }()
	var looked chan error
	select {
	case err := <-done:
		if err != nil {
			return err
		}
		return look(ctx)
	case <-t.sent:
		looked = make(chan error, 1)
		go func() { looked <- look(ctx) }()
	}
	err := <-done
	found := <-looked
	switch {
	case err != nil:
		return err
	case t.times.Load() != 1 || t.other.Load() || found != nil:
		return look(ctx)
	default:
		return nil
	}
}
