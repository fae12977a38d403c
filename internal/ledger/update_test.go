package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/ledger"
)

// file is the ledger's path on a fake host.
func file(files host.Files) string {
	home, err := files.Home(context.Background())
	if err != nil {
		panic(err)
	}
	return filepath.Join(home, "shop/ledger.json")
}

func note(t *testing.T, files host.Files, role string) {
	t.Helper()
	_, err := ledger.Update(t.Context(), files, file(files), func(l *ledger.Ledger) bool {
		return l.Note(ledger.Release{ID: "R1", Live: map[string][]string{role: {role}}})
	})
	if err != nil {
		t.Error(err)
	}
}

func live(t *testing.T, files host.Files) map[string][]string {
	t.Helper()
	l, err := ledger.Read(t.Context(), files, file(files))
	if err != nil || len(l.Releases) != 1 {
		t.Fatalf("got %+v, %v, want one release", l, err)
	}
	return l.Releases[0].Live
}

func TestUpdate_LosesNothingOfWhatManyDoAtOnce(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	var wg sync.WaitGroup
	for i := range 12 {
		files := fake.Connect(t).Files() // Each is a process of its own.
		wg.Go(func() { note(t, files, fmt.Sprintf("role%d", i)) })
	}
	wg.Wait()
	if got := live(t, fake.Connect(t).Files()); len(got) != 12 {
		t.Errorf("got %d roles, want 12: %v", len(got), got)
	}
}

func TestUpdate_GoesOnFromAWriterThatDiedInTheMiddle(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	files := fake.Connect(t).Files()
	note(t, files, "web")
	note(t, files, "job")
	// The second one's last step is undone: the ledger is a generation behind.
	first, err := os.ReadFile(filepath.Join(fake.Home, "shop/ledger/00000001.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file(files), first, 0o600); err != nil {
		t.Fatal(err)
	}
	note(t, files, "job") // Run again.
	if got := live(t, files); len(got) != 2 {
		t.Errorf("got %v, want web and job", got)
	}
	note(t, files, "cron")
	if got := live(t, files); len(got) != 3 {
		t.Errorf("got %v, want web, job and cron", got)
	}
}

func TestUpdate_WritesNothingWhenNothingChanges(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	files := fake.Connect(t).Files()
	note(t, files, "web")
	note(t, files, "web")
	l, err := ledger.Read(t.Context(), files, file(files))
	if err != nil || l.Generation != 1 {
		t.Errorf("got generation %d, %v, want 1", l.Generation, err)
	}
}
