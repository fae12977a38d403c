package barrier_test

import (
	"fmt"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/barrier"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/state"
)

func current(t *testing.T, files host.Files) barrier.Attempt {
	t.Helper()
	a, err := barrier.Current(t.Context(), files, "barrier/R1")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func verdict(open bool) state.Verdict {
	return state.Verdict{Release: "R1", Open: open, At: time.Now().UTC()}
}

func settle(t *testing.T, a barrier.Attempt, open bool) state.Verdict {
	t.Helper()
	v, err := a.Settle(t.Context(), verdict(open))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSettle_GivesEverybodyTheFirstVerdict(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	verdicts := make([]bool, 10)
	var wg sync.WaitGroup
	for i := range verdicts {
		a := current(t, fake.Connect(t).Files())
		wg.Go(func() { verdicts[i] = settle(t, a, i%2 == 0).Open })
	}
	wg.Wait()
	for _, open := range verdicts {
		if open != verdicts[0] {
			t.Fatalf("got both verdicts: %v", verdicts)
		}
	}
}

func TestAgain_BeginsOneNewAttemptForAll(t *testing.T) {
	t.Parallel()
	files := hosttest.NewFake(t, "vm1").Connect(t).Files()
	settle(t, current(t, files), false)
	one, other := current(t, files), current(t, files)
	for _, a := range []barrier.Attempt{one, other} {
		if !a.Closed() {
			t.Fatal("the verdict is not found")
		}
		if _, err := a.Again(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now := current(t, files); now.Verdict != nil {
		t.Errorf("got %+v, want an attempt without verdict", now.Verdict)
	}
	settle(t, current(t, files), true)
	if now := current(t, files); now.Closed() || now.Verdict == nil {
		t.Errorf("got %+v, want the second attempt open", now.Verdict)
	}
}

func TestAgain_BySomebodySlowSpoilsNoNewerVerdict(t *testing.T) {
	t.Parallel()
	files := hosttest.NewFake(t, "vm1").Connect(t).Files()
	settle(t, current(t, files), false)
	slow := current(t, files)
	next, err := current(t, files).Again(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settle(t, next, true)
	if _, err := slow.Again(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := current(t, files); now.Verdict == nil || !now.Verdict.Open {
		t.Errorf("got %+v, want the open verdict", now.Verdict)
	}
}

func TestClose_StopsWhoWaitsAndWhoComes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*testing.T, host.Files)
		opened bool
	}{
		"before a verdict":      {func(*testing.T, host.Files) {}, false},
		"after one that opened": {func(t *testing.T, f host.Files) { settle(t, current(t, f), true) }, true},
		"after one that closed": {func(t *testing.T, f host.Files) { settle(t, current(t, f), false) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			files := hosttest.NewFake(t, "vm1").Connect(t).Files()
			c.before(t, files)
			for _, want := range []bool{true, false} {
				changed, opened, err := barrier.Close(t.Context(), files, "barrier/R1", verdict(false))
				if err != nil || changed != want || opened != (c.opened && want) {
					t.Errorf("got changed %t, was open %t, %v, want %t, %t", changed, opened, err, want, c.opened && want)
				}
			}
			if !current(t, files).Closed() {
				t.Error("the barrier is not closed")
			}
		})
	}
}

func TestSettle_ForgetsTheVerdictsOfOldReleases(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	files, folder := fake.Connect(t).Files(), path.Join(fake.Home, "barrier")
	for i := range 15 {
		a, err := barrier.Current(t.Context(), files, path.Join(folder, fmt.Sprintf("R%02d", i)))
		if err != nil {
			t.Fatal(err)
		}
		settle(t, a, true)
	}
	kept, err := files.List(t.Context(), folder)
	if err != nil || len(kept) != 11 || kept[10].Name != "R14" {
		t.Errorf("got %v, %v, want the last eleven", kept, err)
	}
}
