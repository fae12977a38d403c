package state

import (
	"encoding/json"
	"testing"
)

// What a later stage acts upon is compared; what a rerun cannot repeat is not.
func TestAlike_ComparesWhatLaterStagesActUpon(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stage, a, b string
		want        bool
	}{
		"containers that barrier-wait waited for":  {"barrier-wait", `{"targets":{"web@vm1":{"containers":["a"]}}}`, `{"targets":{"web@vm1":{"containers":["b"]}}}`, false},
		"containers that cutover put into service": {"cutover", `{"targets":{"web@vm1":{"containers":["a"]}}}`, `{"targets":{"web@vm1":{"containers":["a","b"]}}}`, false},
		"how long barrier-wait took":               {"barrier-wait", `{"targets":{"web@vm1":{"containers":["a"],"tookMs":1}}}`, `{"targets":{"web@vm1":{"containers":["a"],"tookMs":2}}}`, true},
		"containers that cutover stopped":          {"cutover", `{"targets":{"web@vm1":{"containers":["a"],"stopped":["b"]}}}`, `{"targets":{"web@vm1":{"containers":["a"]}}}`, true},
		"containers that prune removed":            {"prune", `{"hosts":{"vm1":{"containers":["a"],"kept":["v1"]}}}`, `{"hosts":{"vm1":{"kept":["v1"]}}}`, true},
		"versions that prune kept":                 {"prune", `{"hosts":{"vm1":{"kept":["v1"]}}}`, `{"hosts":{"vm1":{"kept":["v0"]}}}`, false},
		"containers that serve again after abort":  {"abort", `{"targets":{"web@vm1":{"containers":["a"],"done":true}}}`, `{"targets":{"web@vm1":{"done":true}}}`, true},
		"a container that boot started":            {"boot", `{"targets":{"web@vm1":{"replicas":[{"container":"a"}]}}}`, `{"targets":{"web@vm1":{"replicas":[{"container":"b"}]}}}`, false},
		"the name that boot gave an old container": {"boot", `{"targets":{"web@vm1":{"replicas":[{"replaced":"x"}]}}}`, `{"targets":{"web@vm1":{"replicas":[{}]}}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := func(outputs string) *File {
				return &File{Stage: c.stage, Status: OK, Outputs: json.RawMessage(outputs)}
			}
			if got := Alike(file(c.a), file(c.b)); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
