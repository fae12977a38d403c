package stages

import (
	"testing"

	"github.com/kstep/kstep/internal/ledger"
)

func TestOldVersion_IsOnlyThereAfterOneServed(t *testing.T) {
	t.Parallel()
	served := ledger.Ledger{Releases: []ledger.Release{{ID: "1", Live: map[string][]string{"web": {"a"}}}, {ID: "2"}}}
	failed := ledger.Ledger{Releases: []ledger.Release{{ID: "1"}, {ID: "2", Live: map[string][]string{}}}}
	for title, test := range map[string]struct {
		hosts []ledger.Ledger
		want  string
	}{
		"no host":               {nil, "this is the first version, so nothing serves yet"},
		"a new host":            {[]ledger.Ledger{{}}, "this is the first version, so nothing serves yet"},
		"only failed releases":  {[]ledger.Ledger{failed, {}}, "this is the first version, so nothing serves yet"},
		"one that served":       {[]ledger.Ledger{served}, "the old version keeps serving"},
		"a new host beside one": {[]ledger.Ledger{{}, served}, "the old version keeps serving"},
	} {
		if got := OldVersion(test.hosts...); got != test.want {
			t.Errorf("%s: got %q, want %q", title, got, test.want)
		}
	}
}
