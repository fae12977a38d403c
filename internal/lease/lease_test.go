package lease_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/lease"
)

func store(t *testing.T) (lease.Store, string) {
	t.Helper()
	fake := hosttest.NewFake(t, "vm1")
	dir := filepath.Join(fake.Home, "lease")
	return lease.Store{Files: fake.Connect(t).Files(), Dir: dir}, dir
}

func acquire(t *testing.T, s lease.Store, release string, ttl time.Duration) lease.Acquired {
	t.Helper()
	got, err := s.Acquire(t.Context(), lease.Holder{Release: release, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAcquire_IsRefusedWhileAnotherReleaseHoldsIt(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	acquire(t, s, "R1", time.Minute)
	_, err := s.Acquire(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute})
	if exit.CodeOf(err) != exit.LeaseHeld || !strings.Contains(err.Error(), "release R1") {
		t.Errorf("got %v, want the lease held by R1", err)
	}
}

func TestAcquire_EntersAgainForTheSameReleaseWithTheSameToken(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	first := acquire(t, s, "R1", time.Minute)
	again := acquire(t, s, "R1", time.Minute)
	if !again.Entered || again.Lease.Token != first.Lease.Token {
		t.Errorf("got %+v, want token %d entered again", again, first.Lease.Token)
	}
}

func TestAcquire_TakesAReleasedLeaseWithAHigherToken(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	first := acquire(t, s, "R1", time.Minute)
	if err := s.Release(t.Context(), first.Lease); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, s, "R2", time.Minute)
	if second.Lease.Token <= first.Lease.Token || second.Taken != nil {
		t.Errorf("got %+v after token %d, want a higher one and nothing taken over", second, first.Lease.Token)
	}
}

func TestAcquire_TakesOverAnExpiredLeaseByTheHostsClock(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	first := acquire(t, s, "R1", time.Minute)
	old := time.Now().Add(-2 * time.Minute) // The host's clock is what it stamps on files.
	if err := os.Chtimes(filepath.Join(dir, fmt.Sprintf("%08d.json", first.Lease.Token)), old, old); err != nil {
		t.Fatal(err)
	}
	second := acquire(t, s, "R2", time.Minute)
	if second.Taken == nil || second.Taken.Holder.Release != "R1" {
		t.Fatalf("got %+v, want the expired lease of R1 taken over", second)
	}
	if _, err := s.Renew(t.Context(), first.Lease); exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("the overtaken holder renews with %v, want to be told that R2 holds it", err)
	}
}

func TestAcquire_LetsExactlyOneOfManyIn(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var in []string
	for i := range 20 {
		wg.Go(func() {
			release := fmt.Sprintf("R%02d", i)
			_, err := s.Acquire(t.Context(), lease.Holder{Release: release, TTL: time.Minute})
			if err != nil && exit.CodeOf(err) != exit.LeaseHeld {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				in = append(in, release)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(in) != 1 {
		t.Errorf("%v got in, want exactly one", in)
	}
}

func TestCurrent_RefusesGarbage(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	acquire(t, s, "R1", time.Minute)
	if err := os.WriteFile(filepath.Join(dir, "00000007.json"), []byte("not json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute}); exit.CodeOf(err) != exit.BadState {
		t.Errorf("got %v, want bad state", err)
	}
}
