package ledger

import (
	"encoding/json"
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

func TestVersionBefore_IsThatOfTheReleaseWhichServedBefore(t *testing.T) {
	t.Parallel()
	var l Ledger
	l.Note(Release{ID: "1", Version: "v1", Live: map[string][]string{"web": {"a"}, "job": {"j"}}})
	l.Note(Release{ID: "2", Version: "v2", Live: map[string][]string{"web": {"b"}}})
	l.Note(Release{ID: "3", Version: "v1", Live: map[string][]string{"web": {"a"}}}) // A rollback.
	l.Note(Release{ID: "4", Version: "v4"})
	for release, want := range map[string]string{"1": "", "2": "v1", "3": "v2", "4": "v1"} {
		if got := l.VersionBefore(release, "web"); got != want {
			t.Errorf("before %s: got %q, want %q", release, got, want)
		}
	}
	if got := l.VersionBefore("4", "job") + l.VersionBefore("4", "other"); got != "v1" {
		t.Errorf("other roles: got %q", got)
	}
}

func TestNote_OfTheSameReleaseChangesNothing(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]*Requests{
		"no traffic": nil, "all requests": {Hosts: []string{}}, "a name": {Hosts: []string{"a.example.com"}, PathPrefix: "/x"},
	} {
		entry := func() Release {
			return Release{ID: "01A", Version: "v1", Roles: map[string]Role{"web": {Port: 3000, Requests: asked}}}
		}
		var l Ledger
		l.Note(entry())
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var read Ledger
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if read.Note(entry()) {
			t.Errorf("%s: the ledger changed", name)
		}
		other := entry()
		other.Roles["web"] = Role{Port: 3000, Requests: &Requests{Fallback: true}}
		if !read.Note(other) {
			t.Errorf("%s: other requests are not noted", name)
		}
	}
}
