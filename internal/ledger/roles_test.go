package ledger

import (
	"slices"
	"testing"
)

func served(id string, live map[string][]string) Release {
	return Release{ID: id, Version: "v" + id, Live: live}
}

func TestReplace_TakesARoleOutOfServiceWhenItsSuccessorServes(t *testing.T) {
	t.Parallel()
	var l Ledger
	l.Note(served("1", map[string][]string{"web": {"a"}, "job": {"j"}}))
	l.Replace(served("2", nil), map[string]Replaced{"web": {By: "api", Containers: []string{"a"}, Proxied: true}})
	if got := l.Live("web"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("before the successor serves, web has %v", got)
	}
	l.Note(served("2", map[string][]string{"api": {"b"}}))
	if got := l.Live("web"); got != nil {
		t.Errorf("after the successor serves, web has %v", got)
	}
	if got, known := l.Before("2", "web"); !known || !slices.Equal(got, []string{"a"}) {
		t.Errorf("an abort of 2 goes back to %v (%t)", got, known)
	}
	if got, known := l.Before("3", "web"); !known || got != nil {
		t.Errorf("an abort of 3 goes back to %v (%t), want to nothing", got, known)
	}
	if got := l.Live("job"); !slices.Equal(got, []string{"j"}) {
		t.Errorf("a role that was not replaced has %v", got)
	}
	l.Retract("2", []string{"api"})
	if got := l.Live("web"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after an abort web has %v", got)
	}
}

func TestReplace_KeepsWhatAnEarlierRunHasSeen(t *testing.T) {
	t.Parallel()
	var l Ledger
	l.Replace(served("2", nil), map[string]Replaced{"web": {By: "api", Containers: []string{"a", "b"}, Proxied: true}})
	if l.Replace(served("2", nil), map[string]Replaced{"web": {By: "api", Containers: []string{"b"}}}) {
		t.Error("a second run with less to see changes the ledger")
	}
	if entry := l.Releases[0].Replaced["web"]; !slices.Equal(entry.Containers, []string{"a", "b"}) || !entry.Proxied {
		t.Errorf("got %+v", entry)
	}
}

func TestNote_PutsARoleBackThatTheSameReleaseReplaced(t *testing.T) {
	t.Parallel()
	var l Ledger
	l.Note(served("1", map[string][]string{"job": {"j"}}))
	l.Replace(served("1", nil), map[string]Replaced{"job": {By: "cron", Containers: []string{"j"}}})
	l.Note(served("1", map[string][]string{"cron": {"c"}}))
	if got := l.Live("job"); got != nil {
		t.Fatalf("job has %v", got)
	}
	l.Note(served("1", map[string][]string{"job": {"j"}}))
	if got := l.Live("job"); !slices.Equal(got, []string{"j"}) {
		t.Errorf("job has %v", got)
	}
}
