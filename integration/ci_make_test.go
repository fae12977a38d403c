//go:build integration

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMake_DeploysWhatIsMissingAndTriesAgainWhatFailed(t *testing.T) {
	t.Parallel()
	w := beginCI(t)
	if log, code := w.make("-j2", "--output-sync"); code != 0 {
		t.Fatalf("make exits with %d:\n%s", code, log)
	}
	w.serves("v1")
	w.hasDatabase("vm1")
	w.makes(0)

	if err := os.Remove(w.app.Dir + "/kstep-state/cutover.json"); err != nil {
		t.Fatal(err)
	}
	w.makes(0, "cutover", "prune")
	if got := w.state("cutover")["status"]; got != "unchanged" {
		t.Errorf("cutover says %v, want unchanged", got)
	}

	w.commit(ciVersion(t, "v2", "exit"))
	w.makes(2, allStages()[:6]...)
	w.makes(2, "barrier-wait")
	w.serves("v1")

	w.commit(ciVersion(t, "v3", ""))
	w.makes(0, allStages()...)
	w.serves("v3")
	if log, code := w.withSecrets("kstep", "rollback"); code != 0 {
		t.Fatalf("rollback exits with %d:\n%s", code, log)
	}
	w.serves("v1")
	w.makes(0, allStages()...)
	w.serves("v3")
}

// make runs kstep.mk with the secrets in its environment.
func (w *world) make(args ...string) (log string, code int) {
	w.t.Helper()
	return w.withSecrets(append([]string{"make", "-f", "kstep.mk"}, args...)...)
}

// withSecrets runs a program with the secrets in its environment.
func (w *world) withSecrets(argv ...string) (log string, code int) {
	w.t.Helper()
	env := []string{"KSTEP_KNOWN_HOSTS=" + w.knownHosts()}
	for name, value := range w.secrets() {
		env = append(env, name+"="+value)
	}
	log, code = w.ci(env, argv...)
	w.keeps(log)
	return log, code
}

// makes expects make to run these stages, in order, and to end so.
func (w *world) makes(exit int, want ...string) {
	w.t.Helper()
	log, code := w.make()
	var got []string
	for line := range strings.Lines(log) {
		if stage, ok := strings.CutPrefix(strings.TrimSpace(line), "kstep "); ok && slices.Contains(allStages(), stage) {
			got = append(got, stage)
		}
	}
	if code != exit || !slices.Equal(got, want) {
		w.t.Errorf("make runs %v and exits with %d, want %v and %d:\n%s", got, code, want, exit, log)
	}
}
