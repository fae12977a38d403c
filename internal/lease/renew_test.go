package lease_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lease"
)

// expire makes a lease look as if it had not been renewed for long.
func expire(t *testing.T, dir string, token int) {
	t.Helper()
	old := time.Now().Add(-2 * time.Minute) // The host's clock is what it stamps on files.
	if err := os.Chtimes(filepath.Join(dir, fmt.Sprintf("%08d.json", token)), old, old); err != nil {
		t.Fatal(err)
	}
}

func TestRenew_TakesANewNumberWhenTheLeaseHadExpired(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	first := acquire(t, s, "R1", time.Minute)
	expire(t, dir, first.Lease.Token)
	again, err := s.Renew(t.Context(), first.Lease)
	if err != nil || again.Token <= first.Lease.Token {
		t.Errorf("got token %d, %v; want one above %d: somebody may have found it expired", again.Token, err, first.Lease.Token)
	}
}

func TestRenew_IsRefusedAlsoAfterTheOtherReleaseIsDone(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	first := acquire(t, s, "R1", time.Minute)
	expire(t, dir, first.Lease.Token)
	second := acquire(t, s, "R2", time.Minute)
	if err := s.Release(t.Context(), second.Lease); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Renew(t.Context(), first.Lease); exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("got %v, want R1 fenced off: R2 came and went", err)
	}
}

func TestRenew_OfOneJobSurvivesTheReleaseByAnotherOfTheSameRelease(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	first := acquire(t, s, "R1", time.Minute)
	other := acquire(t, s, "R1", time.Minute)
	if err := s.Release(t.Context(), other.Lease); err != nil {
		t.Fatal(err)
	}
	again, err := s.Renew(t.Context(), first.Lease)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute}); exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("R2 gets %v, want to be refused while R1 works with token %d", err, again.Token)
	}
}

func TestRenew_IsRefusedOnceTheReleaseWasEnded(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, lease.Store, lease.Lease){
		"by force": func(t *testing.T, s lease.Store, l lease.Lease) {
			if err := s.End(t.Context(), l, "ada"); err != nil {
				t.Fatal(err)
			}
		},
		"by an abort that is at work": func(t *testing.T, s lease.Store, _ lease.Lease) {
			if _, err := s.Acquire(t.Context(), lease.Holder{Release: "R1", TTL: time.Minute, Ended: true}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := store(t)
			first := acquire(t, s, "R1", time.Minute)
			end(t, s, first.Lease)
			if _, err := s.Renew(t.Context(), first.Lease); exit.CodeOf(err) != exit.LeaseHeld {
				t.Errorf("got %v, want to be told that the release was ended", err)
			}
		})
	}
}

func TestRelease_OfAnOvertakenHolderDoesNotFreeTheNewOnes(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	first := acquire(t, s, "R1", time.Minute)
	expire(t, dir, first.Lease.Token)
	acquire(t, s, "R2", time.Minute)
	if err := s.Release(t.Context(), first.Lease); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Current(t.Context()); err != nil || now.Free() || now.Holder.Release != "R2" {
		t.Errorf("got %+v, %v; want R2 to hold it still", now, err)
	}
}

func TestWait_LetsThoseInWhoCameFirst(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	first := acquire(t, s, "R1", time.Minute)
	turn, refused := make(chan string, 2), make(chan struct{})
	var wg sync.WaitGroup
	for _, release := range []string{"R2", "R3"} {
		queued := make(chan struct{})
		told := false
		wg.Go(func() {
			got, err := s.Wait(t.Context(), lease.Holder{Release: release, TTL: time.Minute}, time.Minute, func(error) {
				if !told {
					told = true
					close(queued)
				}
			})
			if err != nil {
				t.Errorf("%s: %v", release, err)
			}
			turn <- release
			<-refused // The newcomer must find the lease held.
			if err := s.Release(t.Context(), got.Lease); err != nil {
				t.Error(err)
			}
		})
		<-queued
	}
	if waiting, err := s.Waiting(t.Context()); err != nil || len(waiting) != 2 || waiting[0].Release != "R2" {
		t.Errorf("got %v, %v waiting, want R2 and R3", waiting, err)
	}
	if err := s.Release(t.Context(), first.Lease); err != nil {
		t.Error(err)
	}
	if _, err := s.Acquire(t.Context(), lease.Holder{Release: "R4", TTL: time.Minute}); exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("a newcomer gets %v, want those who wait to come first", err)
	}
	close(refused)
	wg.Wait()
	if a, b := <-turn, <-turn; a != "R2" || b != "R3" {
		t.Errorf("came in as %s, %s, want R2, R3", a, b)
	}
}

func TestWait_PassesATicketThatNobodyHoldsAnyMore(t *testing.T) {
	t.Parallel()
	s, dir := store(t)
	put(t, filepath.Join(dir, "wait-00000001.json"), `{"release":"R0"}`)
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "wait-00000001.json"), old, old); err != nil {
		t.Fatal(err)
	}
	acquire(t, s, "R1", time.Minute)
}

func TestWait_GivesUpAtItsLimitAndReturnsItsTicket(t *testing.T) {
	t.Parallel()
	s, _ := store(t)
	acquire(t, s, "R1", time.Minute)
	_, err := s.Wait(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute}, time.Millisecond, func(error) {})
	if exit.CodeOf(err) != exit.LeaseHeld {
		t.Errorf("got %v, want the lease held", err)
	}
	if waiting, err := s.Waiting(t.Context()); err != nil || len(waiting) != 0 {
		t.Errorf("got %v, %v waiting, want nobody", waiting, err)
	}
}
