package state

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestLock_IsHadByOneAtATime(t *testing.T) {
	t.Parallel()
	d := open(t, Options{})
	if err := d.Writable(); err != nil {
		t.Fatal(err)
	}
	lock := func(ctx context.Context, name string) (unlock func(), waited bool, err error) {
		unlock, err = d.Lock(ctx, name, func() { waited = true })
		return unlock, waited, err
	}
	unlock, waited, err := lock(t.Context(), "boot")
	if err != nil || waited {
		t.Fatalf("the first: waited %t, %v", waited, err)
	}
	other, waited, err := lock(t.Context(), "boot.web")
	if err != nil || waited {
		t.Fatalf("of another shard: waited %t, %v", waited, err)
	}
	other()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, waited, err := lock(ctx, "boot"); !waited || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second: waited %t, %v, want the deadline", waited, err)
	}
	time.AfterFunc(100*time.Millisecond, unlock)
	next, waited, err := lock(t.Context(), "boot")
	if err != nil || !waited {
		t.Fatalf("the third: waited %t, %v, want to wait", waited, err)
	}
	next()
}
