package linger

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestContext_TakesItsTimeUntilTheWorkIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work, interrupt := context.WithCancel(t.Context())
		ctx, done := Context(work, 3*time.Second)
		defer done()
		time.Sleep(time.Hour)
		interrupt()
		time.Sleep(2 * time.Second)
		if err := ctx.Err(); err != nil {
			t.Errorf("two seconds after the interruption: got %v, want it to go on", err)
		}
		time.Sleep(2 * time.Second)
		if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("four seconds after: got %v, want its time to be over", err)
		}
	})
}

func TestContext_HasItsMomentWhenTheWorkWasInterruptedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work, interrupt := context.WithCancel(t.Context())
		interrupt()
		ctx, done := Context(work, 3*time.Second)
		time.Sleep(time.Second)
		if err := ctx.Err(); err != nil {
			t.Errorf("got %v, want it to go on", err)
		}
		done()
		if ctx.Err() == nil {
			t.Error("it goes on after its end")
		}
	})
}
