//go:build integration

package integration

import "testing"

func TestStages_RunAgainChangeNothing(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	w.stagewise()
	before := w.snapshot()
	for _, stage := range allStages() {
		w.must(stage)
		if got := w.state(stage)["status"]; got != "unchanged" {
			t.Errorf("%s run again says %v, want unchanged", stage, got)
		}
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("running the stages again changed the hosts:\n%s", diff)
	}
}
