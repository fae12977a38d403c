package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// prints expects texts in what a command prints.
func (w *world) prints(args []string, want ...string) {
	w.t.Helper()
	stdout, stderr := w.exits(exit.OK, args...)
	for _, text := range want {
		if !strings.Contains(stdout+stderr, text) {
			w.t.Errorf("kstep %s does not say %q:\n%s%s", strings.Join(args, " "), text, stdout, stderr)
		}
	}
}

func TestRollback_BringsBackTheRolesThatServedThen(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replicas(extra, "2")
			w.deploy("v1")
			before := w.containersOf("vm1")["shop-web-v1"].ID
			w.moved()
			w.prints([]string{"deploy", "--image", w.image("v2"), "--version", "v2"}, "a rollback to v1 is ready on 3 of 3 targets")
			w.prints([]string{"releases"}, "ready")
			w.registry.Close()
			users := w.hammer(w.pool())
			w.forget()
			w.prints([]string{"rollback"}, "web@vm1, web@vm2, job@vm3")
			w.serves("v1")
			for _, name := range []string{"vm1", "vm2"} {
				w.works(name, "shop-web-v1", "shop-web.2-v1")
				w.isRouted(name, "web")
			}
			w.works("vm3", "shop-job-v1")
			if now := w.containersOf("vm1")["shop-web-v1"].ID; now != before {
				t.Error("the container was made anew")
			}
			w.prints([]string{"status"}, "; not configured")
			w.forget()
			w.prints([]string{"rollback", "v2"})
			w.serves("v2")
			w.isRouted("vm1", "zweb")
			w.works("vm3", "shop-cron-v2")
			w.forget()
			w.prints([]string{"rollback", "v1"})
			w.serves("v1")
			if sent, failed := users(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}

func TestRollback_WithTheOldConfigurationIsADeployBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.moved()
	w.deploy("v2")
	w.replace("primary_role: zweb\n", "")
	w.replace("  zweb: ", "  web: ")
	w.replace("  cron:", "  job:")
	w.forget()
	w.prints([]string{"rollback", "v1"})
	w.serves("v1")
	w.works("vm1", "shop-web-v1")
	w.works("vm3", "shop-job-v1")
	w.isRouted("vm1", "web")
}

func TestRollback_TakesAwayARoleThatWasAddedSinceAndBringsOneBackThatWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("hosts: [vm3]", "hosts: [vm2, vm3]")
	w.deploy("v1")
	w.replace("hosts: [vm2, vm3]", "hosts: [vm3]")
	w.replace("  job:", "  mail: {hosts: [vm1], cmd: send, healthcheck: {cmd: \"true\"}}\n  job:")
	w.deploy("v2")
	w.works("vm1", "shop-mail-v2", "shop-web-v2")
	w.works("vm2", "shop-web-v2")
	w.forget()
	w.prints([]string{"rollback", "v1"})
	w.works("vm1", "shop-web-v1")
	w.works("vm2", "shop-job-v1", "shop-web-v1")
	w.forget()
	w.prints([]string{"rollback", "v2"})
	w.works("vm1", "shop-mail-v2", "shop-web-v2")
	w.works("vm2", "shop-web-v2")
}

func TestAbort_OfARollbackToOtherRolesLeavesTheNewOnesServing(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.moved()
			w.deploy("v2")
			users := w.hammer(w.pool())
			fired := 0
			for k := 60; ; k += 37 {
				w.forget()
				if err := os.Mkdir(filepath.Join(w.dir, "kstep-state"), 0o755); err != nil {
					t.Fatal(err)
				}
				if !w.killed(k, "rollback", "v1") {
					break
				}
				fired++
				if w.aborted("v1", "abort") {
					w.exits(exit.OK, "rollback", "v2")
					continue
				}
				w.serves("v2")
				w.works("vm1", "shop-zweb-v2")
				w.works("vm3", "shop-cron-v2")
				w.isRouted("vm1", "zweb")
			}
			if fired < 3 {
				t.Errorf("the rollback was killed %d times only", fired)
			}
			if sent, failed := users(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
		})
	}
}
