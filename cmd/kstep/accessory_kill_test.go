package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestAccessory_KilledAnywhereInARebootTheNextOneConverges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withAccessory("")
	w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm3")
	if err := os.MkdirAll(filepath.Join(w.dir, "kstep-state"), 0o700); err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(mountOf(t, w.accessory("vm3", "db"), "/var/lib/db"), "rows")
	if err := os.WriteFile(rows, []byte("all"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := 0
	for ; ; k += 5 { // Each fifth operation: all of them were tried once, and take ten seconds.
		w.env["ROOT"] = fmt.Sprint("secret ", k)
		if !w.killed(k, "accessory", "reboot", "db", "--hosts", "vm3") {
			break
		}
		w.exits(exit.OK, "lock", "release", "--force")
		w.exits(exit.OK, "accessory", "reboot", "db", "--hosts", "vm3")
		c := w.accessory("vm3", "db")
		if !c.Running() || c.Name != "shop-db" || w.read(rows) != "all" {
			t.Errorf("killed at %d: %+v", k, c)
		}
	}
	if k < 25 {
		t.Errorf("a reboot has %d operations only: is the right thing killed?", k)
	}
}
