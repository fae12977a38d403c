package main

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/state"
)

// ledgerOf is the ledger on a host.
func (w *world) ledgerOf(hostName string) ledger.Ledger {
	w.t.Helper()
	book, err := ledger.Read(w.t.Context(), w.hosts[hostName].Connect(w.t).Files(), w.ledgerFile(hostName))
	if err != nil {
		w.t.Fatal(err)
	}
	return book
}

func (w *world) ledgerFile(hostName string) string {
	return filepath.Join(w.hosts[hostName].Home, ".kstep/shop/ledger.json")
}

// notes puts a release into a host's ledger, as a stage of it would have.
func (w *world) notes(hostName, release string) {
	w.t.Helper()
	_, err := ledger.Update(w.t.Context(), w.hosts[hostName].Connect(w.t).Files(), w.ledgerFile(hostName), func(l *ledger.Ledger) bool {
		return l.Note(ledger.Release{ID: release, Version: "v9", At: time.Now()})
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestFuture_ReleaseInTheLedgersIsRemovedByAbort(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		release string
		hosts   []string
	}{
		"the last id there is":  {"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", []string{"vm1", "vm2", "vm3"}},
		"of a clock in 2099":    {state.NewRelease(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)), []string{"vm1", "vm2", "vm3"}},
		"of a clock, two hours": {state.NewRelease(time.Now().Add(2 * time.Hour)), []string{"vm1"}},
		"not on the first host": {state.NewRelease(time.Now().Add(9 * time.Hour)), []string{"vm3"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			for _, name := range c.hosts {
				w.notes(name, c.release)
			}
			w.refuses(exit.BadState, "kstep abort --release "+c.release, w.deployArgs("v2")...)
			w.serves("v1")
			w.says("removed release "+c.release, "abort", "--release", c.release)
			for name := range w.hosts {
				if w.ledgerOf(name).Knows(c.release) {
					t.Errorf("the ledger on %s still has it", name)
				}
			}
			w.serves("v1")
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
			w.says("nothing", "abort")
			for _, r := range w.ledgerOf("vm1").Releases {
				if state.ReleaseTime(r.ID).After(time.Now().Add(time.Minute)) {
					t.Errorf("release %s (%s) was made in the future", r.ID, r.Version)
				}
			}
		})
	}
}

func TestFuture_NewReleaseIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	for title, run := range map[string]func(w *world){
		"deploy": func(w *world) { w.refuses(exit.BadState, "was made in the future", w.deployArgs("v2")...) },
		"stage": func(w *world) {
			w.pushed("v2")
			w.refuses(exit.BadState, "was made in the future", "assets")
		},
		"rollback": func(w *world) { w.refuses(exit.BadState, "was made in the future", "rollback", "v0") },
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v0")
			w.deploy("v1")
			before := w.picture()
			w.hosts["vm1"].Engine.SetClock(-25 * time.Minute) // This machine is ahead of it.
			run(w)
			if after := w.picture(); !maps.Equal(after, before) {
				t.Errorf("the hosts changed:\n%v\nwant\n%v", after, before)
			}
			w.hosts["vm1"].Engine.SetClock(-5 * time.Minute)
			w.exits(exit.OK, w.deployArgs("v2")...)
			w.serves("v2")
		})
	}
}

func TestFuture_ReleaseOfTheStateFolderIsRefusedAndRemovedByAbort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.pushed("v2")
	release := w.newestRelease()
	for _, fake := range w.hosts {
		fake.Engine.SetClock(-time.Hour)
	}
	w.refuses(exit.BadState, "kstep abort --release "+release, "assets")
	w.exits(exit.OK, "abort", "--release", release)
	for name, text := range w.stateFiles() {
		if strings.Contains(text, release) {
			t.Errorf("%s is still of the release", name)
		}
	}
	w.serves("v1")
}
