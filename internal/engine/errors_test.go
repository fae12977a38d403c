package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

// lagging is a context whose deadline has passed for everybody but itself.
type lagging struct {
	context.Context //nolint:containedctx // It is one.
}

func (lagging) Deadline() (time.Time, bool) { return time.Now().Add(-time.Millisecond), true }

func TestEnded_ADeadlineThatHasPassedIsTheEndBeforeTheContextSaysSo(t *testing.T) {
	t.Parallel()
	late := errors.New("too late")
	ctx, end := context.WithCancelCause(t.Context())
	time.AfterFunc(5*time.Millisecond, func() { end(late) })
	if err := Ended(lagging{ctx}); !errors.Is(err, late) {
		t.Errorf("got %v, want %v", err, late)
	}
}
