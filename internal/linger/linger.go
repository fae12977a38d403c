// Package linger gives clean-up its time: what has to be put right at the end
// may take as long as it needs, and only a moment once the work was
// interrupted.
package linger

import (
	"context"
	"time"
)

// Context is one that goes on when ctx ends, for the given time. The function
// it comes with ends it, and must be called.
func Context(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-late.Done():
		case <-time.After(limit):
			cancel(context.DeadlineExceeded)
		}
	})
	return late, func() { stop(); cancel(context.Canceled) }
}
