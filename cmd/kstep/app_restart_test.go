package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

func TestRestart_ReplacesEqualContainersWithoutALostRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extra string
		args  []string
	}{
		"app restart":         {"", []string{"app", "restart"}},
		"app restart by cord": {"proxy: {switch: cord}\n", []string{"app", "restart"}},
		"redeploy --force":    {"", []string{"redeploy", "--force", "--version", "v1", "--image"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(c.extra)
			w.task("migrate", "exit 0", "")
			w.deploy("v1")
			args := c.args
			if args[0] == "redeploy" {
				args = append(args, w.image("v1"))
			}
			before := map[string]string{}
			for _, host := range []string{"vm1", "vm2"} {
				before[host] = w.works(host, "shop-web-v1")[0].ID
			}
			worker := w.works("vm3", "shop-job-v1")[0].ID
			users := w.hammer(w.pool())
			w.killedAt(func(op host.Op) bool { return op.Kind == host.KindEngine && strings.HasSuffix(op.Name, "/stop") }, args...)
			w.exits(exit.OK, args...)
			if sent, failed := users(); len(failed) > 0 {
				t.Errorf("%d of %d requests failed, such as: %s", len(failed), sent, failed[0])
			}
			for host, id := range before {
				if now := w.works(host, "shop-web-v1"); now[0].ID == id {
					t.Errorf("%s serves with the container of before", host)
				}
			}
			if now := w.works("vm3", "shop-job-v1"); now[0].ID == worker {
				t.Error("vm3 works with the container of before")
			}
			w.serves("v1")
			if got := len(w.runs("migrate")); args[0] == "app" && got != 1 {
				t.Errorf("the task ran %d times, want once: a restart is no deploy", got)
			}
			again := w.works("vm1", "shop-web-v1")[0].ID
			w.exits(exit.OK, "app", "restart")
			if now := w.works("vm1", "shop-web-v1"); now[0].ID == again {
				t.Error("a second restart did nothing")
			}
		})
	}
}
