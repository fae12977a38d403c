package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// oldLedgers makes the ledgers look as kstep wrote them before it listed roles
// and hosts.
func (w *world) oldLedgers() {
	w.t.Helper()
	for _, fake := range w.hosts {
		files, err := filepath.Glob(filepath.Join(fake.Home, ".kstep/shop/ledger*/*.json"))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, file := range append(files, filepath.Join(fake.Home, ".kstep/shop/ledger.json")) {
			data, err := os.ReadFile(file)
			if err != nil {
				continue // Nothing was deployed there.
			}
			var book map[string]any
			if err := json.Unmarshal(data, &book); err != nil {
				w.t.Fatal(err)
			}
			delete(book, "hosts")
			for _, r := range book["releases"].([]any) { //nolint:forcetypeassert // A test fails either way.
				delete(r.(map[string]any), "roles") //nolint:forcetypeassert // As above.
			}
			if data, err = json.Marshal(book); err == nil {
				err = os.WriteFile(file, data, 0o644)
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func TestTakeover_OfHostsWithOlderLedgersRenamesAndGoesBack(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.oldLedgers()
			w.moved()
			users := w.hammer(w.pool())
			w.prints([]string{"deploy", "--image", w.image("v2"), "--version", "v2"}, "a rollback to v1 is ready on 3 of 3 targets")
			w.serves("v2")
			w.isRouted("vm1", "zweb")
			w.works("vm3", "shop-cron-v2")
			w.forget()
			w.prints([]string{"rollback", "v1"}, "web@vm1, web@vm2, job@vm3")
			w.serves("v1")
			w.isRouted("vm1", "web")
			if sent, failed := users(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestTakeover_FindsAHostThatLeftInTheCopiesOfTheState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.oldLedgers()
	w.replace("web: [vm1, vm2]", "web: [vm1]")
	w.prints([]string{"plan", "--image", w.image("v2"), "--version", "v2"}, leftVM2)
	w.prints([]string{"deploy", "--image", w.image("v2"), "--version", "v2"}, leftVM2)
	w.exits(0, "remove", "--hosts", "vm2", "--yes")
	w.unwarned("v3")
}
