package ledger

import (
	"slices"
	"testing"
)

func TestNoteFirst_KnowsWhatNothingServedBeforeAlsoAfterPrune(t *testing.T) {
	t.Parallel()
	var l Ledger
	serve := func(id string, roles ...string) {
		live := map[string][]string{}
		for _, role := range roles {
			live[role] = []string{role + id}
		}
		l.Note(Release{ID: id, Version: "v" + id})
		l.NoteFirst(id, roles)
		l.Note(Release{ID: id, Version: "v" + id, Live: live})
	}
	serve("1", "web")
	serve("2", "job", "web")
	l.Releases = l.Releases[1:] // As prune does with `retain: 1`.
	serve("2", "job", "web")    // A rerun of cutover.
	got, _ := l.Find("2")
	if want := []string{"job"}; !slices.Equal(got.First, want) {
		t.Errorf("first roles: got %v, want %v", got.First, want)
	}
	if l.NoteFirst("3", []string{"web"}) {
		t.Error("a release that is not in the ledger was changed")
	}
}
