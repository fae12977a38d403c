package lease_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
)

func TestRepair_GoesPastWhateverIsNotALease(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"no JSON":    func(t *testing.T, dir string) { put(t, filepath.Join(dir, "00000007.json"), "not json") },
		"other JSON": func(t *testing.T, dir string) { put(t, filepath.Join(dir, "00000007.json"), `{"a":1}`) },
		"a megabyte": func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "00000007.json"), strings.Repeat("\x00", 1<<20))
		},
		"a file, no folder": func(t *testing.T, dir string) { put(t, dir, "mine") },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := store(t)
			if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir)
			_, err := s.Acquire(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute})
			if exit.CodeOf(err) != exit.BadState || !strings.Contains(strings.Join(exit.Hints(err), " "), "--force") {
				t.Errorf("got %v with hints %v, want bad state and the remedy", err, exit.Hints(err))
			}
			if err := s.Repair(t.Context(), "ada"); err != nil {
				t.Fatal(err)
			}
			acquire(t, s, "R2", time.Minute)
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ahead are the files of a host whose clock is wrong.
type ahead struct {
	host.Files
	by time.Duration
}

func (a ahead) List(ctx context.Context, path string) ([]host.Entry, error) {
	entries, err := a.Files.List(ctx, path)
	for i := range entries {
		entries[i].Modified = entries[i].Modified.Add(a.by)
	}
	return entries, err
}

func (a ahead) Stat(ctx context.Context, path string) (host.Entry, error) {
	e, err := a.Files.Stat(ctx, path)
	e.Modified = e.Modified.Add(a.by)
	return e, err
}

func TestAcquire_DoesNotMindAClockThatIsTenMinutesOff(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			s, dir := store(t)
			s.Files = ahead{s.Files, off}
			first := acquire(t, s, "R1", time.Minute)
			if _, err := s.Acquire(t.Context(), lease.Holder{Release: "R2", TTL: time.Minute}); exit.CodeOf(err) != exit.LeaseHeld {
				t.Fatalf("got %v, want the lease held by R1", err)
			}
			if _, err := s.Renew(t.Context(), first.Lease); err != nil {
				t.Fatal(err)
			}
			expire(t, dir, first.Lease.Token)
			if second := acquire(t, s, "R2", time.Minute); second.Taken == nil {
				t.Errorf("got %+v, want the expired lease of R1 taken over", second)
			}
		})
	}
}
