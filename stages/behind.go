package stages

import (
	"context"
	"sync"

	"github.com/kstep/kstep/internal/state"
)

// behind is what a session still has to leave on the hosts of stages that are
// done, in their order, while it goes on with the next ones.
type behind struct {
	mu   sync.Mutex
	last chan struct{} // Closed when all that was begun so far is done.
	stop []context.CancelFunc
}

// after begins work when all that was begun before is done.
func (b *behind) after(ctx context.Context, work func(context.Context)) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.mu.Lock()
	defer b.mu.Unlock()
	before, done := b.last, make(chan struct{})
	b.last, b.stop = done, append(b.stop, stop)
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		work(ctx)
	}()
}

// Settle waits until what stages leave on the hosts beside the next stages is
// there. It belongs before the lease is freed, under which it is written.
func (s *Session) Settle(ctx context.Context) {
	s.behind.mu.Lock()
	last, stop := s.behind.last, s.behind.stop
	s.behind.last, s.behind.stop = nil, nil
	s.behind.mu.Unlock()
	if last == nil {
		return
	}
	within, cancel := afterwards(ctx, false)
	defer cancel()
	select {
	case <-last:
	case <-within.Done():
	}
	for _, end := range stop {
		end()
	}
	<-last
}

// remember leaves on the hosts what they keep of the stage: a copy of its file,
// and lines in their logs. A stage that was refused or lost its lease leaves
// nothing there. Where other stages follow in this process, they need not wait
// for it: they know the file.
func (r *run) remember(ctx context.Context, file *state.File) {
	if refusedAt(file) {
		return
	}
	if r.KeepLease && file.Status.Done() {
		r.behind.after(ctx, func(ctx context.Context) { r.leaveBehind(ctx, file) })
		return
	}
	r.Settle(ctx)
	r.leaveBehind(ctx, file)
}
