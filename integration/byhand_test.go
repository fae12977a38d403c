//go:build integration

package integration

import (
	"fmt"
	"strings"
)

// byHand does by hand what people do beside deploys: it looks, runs programs,
// and stops and starts a worker and a proxy.
func (w *world) byHand() {
	w.t.Helper()
	if r := w.must("app", "exec", "--once", "--", "sh", "-c", "echo $KSTEP_ROLE; echo on $KSTEP_HOST >&2"); r.Stdout != "web\n" || !strings.Contains(r.Stderr, "on vm1\n") {
		w.t.Errorf("app exec prints %q, and %q", r.Stdout, r.Stderr)
	}
	if r := w.exits(10, "app", "exec", "--", "sh", "-c", "test $KSTEP_HOST != vm2 || exit 3"); !strings.Contains(r.Stderr, "on vm2: exit status 3") {
		w.t.Errorf("app exec does not tell the status:\n%s", r.Stderr)
	}
	w.console()
	if r := w.must("app", "logs", "--roles", "job", "-n", "1", "--since", "1h"); r.Stdout != "app: working\n" {
		w.t.Errorf("app logs prints %q", r.Stdout)
	}
	worker := "shop-job-" + w.head()
	w.must("app", "stop", "--roles", "job")
	w.runs("vm3")
	w.must("app", "start", "--roles", "job")
	w.runs("vm3", worker)

	w.must("proxy", "stop", "--hosts", "vm2")
	if status, body := w.get(w.rig.Host("vm2").URL()); status != 0 {
		w.t.Errorf("without its proxy vm2 answers %d %s", status, body)
	}
	w.must("proxy", "start", "--hosts", "vm2")
	w.eventually(func() error {
		if status, body := w.get(w.rig.Host("vm2").URL()); status != 200 {
			return fmt.Errorf("vm2 answers %d %s", status, body)
		}
		return nil
	})
	if r := w.must("proxy", "details"); strings.Count(r.Stdout, "as configured") != 2 {
		w.t.Errorf("proxy details shows\n%s", r.Stdout)
	}
}

// console has a terminal of 97 by 31 characters, and a user who types hello.
func (w *world) console() {
	w.t.Helper()
	in := `until test "$(busybox stty size)" = "31 97"; do busybox sleep 0.1; done; read line; echo "got $line on $KSTEP_HOST"; exit 3`
	out := `echo hello | timeout 60 script -qec 'stty cols 97 rows 31; kstep app exec -i --hosts vm2 --roles web -- sh -c "$IN"' /dev/null`
	r, err := w.rig.Deployer.Run(w.t.Context(), []string{"IN=" + in}, w.app.Work, "bash", "-c", out)
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(r.Stdout, "got hello on vm2") || r.Exit != 10 {
		w.t.Errorf("app exec -i in a terminal: exit status %d and\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
	if r := w.must("audit", "-n", "1"); !strings.Contains(r.Stdout, "app exec  web") || !strings.Contains(r.Stdout, "exit status 3") {
		w.t.Errorf("the audit log ends with\n%s", r.Stdout)
	}
}
