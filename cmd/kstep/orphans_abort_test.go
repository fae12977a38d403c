package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// moved renames the role with the traffic and the one without.
func (w *world) moved() {
	w.t.Helper()
	w.renamed("zweb")
	w.replace("  job:", "  cron:")
}

func TestAbort_BringsRenamedRolesBackFromEveryPointOfACutover(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replicas(extra, "2")
			w.deploy("v1")
			w.moved()
			pool := w.pool()
			before := w.standing(pool)
			stop := w.hammer(pool)
			complete := false
			for k := 1; !complete && !t.Failed(); k += abortStride {
				w.ready(fmt.Sprintf("v2-%d", k))
				w.killed(k, "cutover")
				command := sources()[k%3]
				if len(command) > 1 {
					w.forget()
				}
				if complete = w.aborted(fmt.Sprintf("v2-%d", k), command...); complete {
					break
				}
				w.stands(pool, fmt.Sprintf("killed before operation %d", k), before)
				w.isRouted("vm1", "web")
			}
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestAbort_OfACutoverThatWasDoneOnOneHostBringsTheOldRoleBack(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.moved()
			pool := w.pool()
			before := w.standing(pool)
			stop := w.hammer(pool)
			w.ready("v2")
			w.exits(exit.OK, "cutover", "--hosts", "vm1,vm3")
			w.isRouted("vm1", "zweb")
			w.isRouted("vm2", "web")
			w.exits(exit.OK, "abort")
			w.stands(pool, "after an abort", before)
			w.isRouted("vm1", "web")
			w.exits(exit.OK, "abort")
			w.stands(pool, "after a second abort", before)
			w.deploy("v3")
			w.serves("v3")
			w.works("vm3", "shop-cron-v3")
			if sent, failed := stop(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestAbort_OfARenameThatIsCompleteLeavesItServing(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"stop", "warn"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("orphans: " + mode + "\n")
			w.deploy("v1")
			w.moved()
			w.ready("v2")
			w.exits(exit.OK, "cutover")
			_, stderr := w.exits(exit.OK, "abort")
			if !strings.Contains(stderr, "is complete") {
				t.Errorf("the release is not complete:\n%s", stderr)
			}
			w.serves("v2")
		})
	}
}
