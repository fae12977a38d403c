//go:build integration

package integration

import (
	"strings"
	"testing"
)

// planned runs `kstep plan`, which must change nothing on the hosts, and
// returns what it prints.
func (w *world) planned(exits int, args ...string) string {
	w.t.Helper()
	before := w.snapshot()
	r := w.exits(exits, append([]string{"plan", "--detailed-exitcode"}, args...)...)
	if diff := before.Diff(w.snapshot()); diff != "" {
		w.t.Errorf("plan changed the hosts:\n%s", diff)
	}
	w.t.Logf("kstep plan %s\n%s", strings.Join(args, " "), r.Stdout)
	return r.Stdout
}

func TestPlan_IsCarriedOutUnlessSomebodyElseDeployed(t *testing.T) {
	t.Parallel()
	s := settings{extra: "env: {clear: {LEVEL: low}}\n"}
	w := begin(t, s)
	const file = "kstep-state/plan.json"
	w.planned(2, "--out", file)
	w.must("deploy", "--plan", file)
	w.serves("v1")
	if out := w.planned(0); !strings.Contains(out, "nothing to do\n") {
		t.Errorf("after the deploy, plan says\n%s", out)
	}

	s.extra = "env: {clear: {LEVEL: high}}\n"
	v2 := w.commit(s.version("v2", ""))
	first := w.planned(2, "--out", file)
	for _, want := range []string{"~ LEVEL", "+ create shop-web-" + v2[:7], "~ move traffic to shop-web-" + v2[:7], "- stop shop-web-"} {
		if !strings.Contains(first, want) {
			t.Errorf("plan of v2 does not tell %q", want)
		}
	}
	w.commit(s.version("v3", ""))
	w.must("deploy", "--state-dir", "/tmp/elsewhere")
	w.serves("v3")
	before := w.snapshot()
	r := w.exits(21, "deploy", "--plan", file)
	if !strings.Contains(r.Stderr, "vm1 has changed since the plan was created: release ") {
		t.Errorf("the refusal does not tell what has moved:\n%s", r.Stderr)
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("the refused deploy changed the hosts:\n%s", diff)
	}
	w.serves("v3")
}
