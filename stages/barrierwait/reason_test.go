package barrierwait

import "testing"

func TestTell_SaysEachReasonOnceWithAllItsTargets(t *testing.T) {
	got := listed([]reason{{"web@vm2", "answered 503"}, {"web@vm3", "exit status 1"}, {"web@vm1", "answered 503"}})
	if want := "web@vm1, web@vm2: answered 503; web@vm3: exit status 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
