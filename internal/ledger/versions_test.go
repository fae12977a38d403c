package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// story makes a ledger of words: `A` deploys the version A, `<A` goes back to it,
// `A!` fails to deploy it.
func story(words string) Ledger {
	var l Ledger
	for i, word := range strings.Fields(words) {
		r := Release{ID: fmt.Sprintf("R%02d", i), Version: strings.Trim(word, "<!"), GoesBack: strings.HasPrefix(word, "<")}
		if !strings.HasSuffix(word, "!") {
			r.Live = map[string][]string{"web": {word}}
		}
		l.Note(r)
	}
	return l
}

func TestVersions_ComeInTheOrderOfTheirLastService(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{ // `-B` was rolled back.
		"":                "",
		"A B C":           "C B A",
		"A B A C":         "C A B", // An old commit was deployed again.
		"A B! C":          "C A",
		"A B <A":          "A -B",
		"A B <A C":        "C A -B",
		"A B C D E <A F":  "F A -E -D -C -B",
		"A B C <B <A":     "A -B -C",
		"A B <A B":        "B A", // It was deployed again.
		"A B <A <B":       "B A", // The user went forward again.
		"A B C <A <C":     "C A -B",
		"A B <B":          "B A",
		"A B A B <A":      "A -B",
		"A B <A! C":       "C B A", // The rollback failed.
		"A B <A C <A":     "A -C -B",
		"A <Z":            "Z A", // With --fresh, to a version that never served here.
		"A B C <B D <B E": "E B -D -C A",
	} {
		var got []string
		for _, v := range story(words).Versions("web") {
			name := v.Name
			if v.RolledBack {
				name = "-" + name
			}
			got = append(got, name)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: got %v, want %s", words, got, want)
		}
	}
}

func TestVersions_CountEachRoleByItself(t *testing.T) {
	t.Parallel()
	l := story("A B <A")
	l.Note(Release{ID: "R01", Version: "B", Live: map[string][]string{"job": {"B"}}})
	if got := l.Versions("job"); len(got) != 1 || got[0].Name != "B" || got[0].RolledBack {
		t.Errorf("job: got %v, want B alone: no rollback moved it", got)
	}
	if got := l.Versions(""); len(got) != 2 || got[0].Name != "A" || !got[1].RolledBack {
		t.Errorf("any role: got %v, want A and B, which was rolled back", got)
	}
}

func TestVersions_AreTheSameWhenOlderReleasesAreForgotten(t *testing.T) {
	t.Parallel()
	l := story("A B <A C <B D") // B was rolled back, and is no more.
	l.Releases = slices.DeleteFunc(l.Releases, func(r Release) bool { return r.Version == "A" })
	for _, v := range l.Versions("") {
		if v.RolledBack {
			t.Errorf("%s was rolled back, as the releases that are left have it", v.Name)
		}
	}
}

func TestNote_KeepsThatTheReleaseIsARollback(t *testing.T) {
	t.Parallel()
	l := story("A B <A")
	if l.Note(Release{ID: "R02", Version: "A"}) || !l.Releases[2].GoesBack || !slices.Equal(l.Releases[2].Left, []string{"B"}) {
		t.Errorf("got %+v, want it unchanged", l.Releases[2])
	}
}
