//go:build integration

package integration

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestMake_DeploysWhatIsMissingAndNothingElse(t *testing.T) {
	w := beginCI(t)
	if log, code := w.make("-j2", "--output-sync"); code != 0 {
		t.Fatalf("make exits with %d:\n%s", code, log)
	}
	w.serves("v1")
	w.hasDatabase("vm1")

	if log, code := w.make(); code != 0 || len(stagesRun(log)) > 0 {
		t.Errorf("make again: exit status %d, runs %v, want nothing:\n%s", code, stagesRun(log), log)
	}
	if err := os.Remove(w.app.Dir + "/kstep-state/cutover.json"); err != nil {
		t.Fatal(err)
	}
	log, code := w.make()
	if got, want := stagesRun(log), []string{"cutover", "prune"}; code != 0 || !slices.Equal(got, want) {
		t.Errorf("make without cutover.json: exit status %d, runs %v, want %v:\n%s", code, got, want, log)
	}
	if got := w.state("cutover")["status"]; got != "unchanged" {
		t.Errorf("cutover says %v, want unchanged", got)
	}
}

func TestMake_StopsAtAFailedStageAndTriesItAgainNextTime(t *testing.T) {
	w := beginCI(t)
	if log, code := w.make(); code != 0 {
		t.Fatalf("make exits with %d:\n%s", code, log)
	}
	w.commit(ciVersion(t, "v2", "exit"))
	for _, want := range [][]string{allStages()[:6], {"barrier-wait"}} {
		log, code := w.make()
		if got := stagesRun(log); code != 2 || !slices.Equal(got, want) {
			t.Errorf("make of a broken image: exit status %d, runs %v, want %v:\n%s", code, got, want, log)
		}
		w.serves("v1")
	}
	w.commit(ciVersion(t, "v3", ""))
	if log, code := w.make(); code != 0 {
		t.Errorf("make of the next commit exits with %d:\n%s", code, log)
	}
	w.serves("v3")
}

// make runs kstep.mk with the secrets in its environment.
func (w *world) make(args ...string) (log string, code int) {
	w.t.Helper()
	env := []string{"KSTEP_KNOWN_HOSTS=" + w.knownHosts()}
	for name, value := range w.secrets() {
		env = append(env, name+"="+value)
	}
	log, code = w.ci(env, append([]string{"make", "-f", "kstep.mk"}, args...)...)
	w.keeps(log)
	return log, code
}

// stagesRun are the commands that make has told, in order.
func stagesRun(log string) []string {
	var stages []string
	for line := range strings.Lines(log) {
		if stage, ok := strings.CutPrefix(strings.TrimSpace(line), "kstep "); ok && slices.Contains(allStages(), stage) {
			stages = append(stages, stage)
		}
	}
	return stages
}
