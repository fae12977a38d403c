package prune

import (
	"slices"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
)

func container(name, role, version, state string, age int) engine.Container {
	return engine.Container{
		ID: name, Name: name, State: state, Created: time.Unix(int64(1000-age), 0),
		Labels: map[string]string{engine.LabelRole: role, engine.LabelVersion: version},
	}
}

func TestRetained_KeepsTheNewestVersionsOfEachRole(t *testing.T) {
	for name, c := range map[string]struct {
		containers []engine.Container
		keep       int
		removed    []string
	}{
		"what runs counts among those to keep": {
			[]engine.Container{
				container("web3", "web", "v3", "running", 1), container("web2", "web", "v2", "exited", 2), container("web1", "web", "v1", "exited", 3),
			}, 2, []string{"web1"},
		},
		"roles do not share a pool": {
			[]engine.Container{
				container("web2", "web", "v2", "running", 1), container("web1", "web", "v1", "exited", 3),
				container("job2", "job", "v2", "running", 1), container("job1", "job", "v1", "exited", 3),
			}, 2, nil,
		},
		"a replaced container of a kept version goes": {
			[]engine.Container{
				container("web2", "web", "v2", "running", 1), container("web2_replaced_x", "web", "v2", "exited", 2), container("web1", "web", "v1", "exited", 3),
			}, 5, []string{"web2_replaced_x"},
		},
		"what runs stays, whatever its age": {
			[]engine.Container{
				container("web1", "web", "v1", "running", 9), container("web3", "web", "v3", "exited", 1), container("web2", "web", "v2", "exited", 2),
			}, 1, []string{"web3", "web2"},
		},
		"after a rollback the newer version can be gone back to": {
			[]engine.Container{
				container("web1", "web", "v1", "running", 9), container("web2", "web", "v2", "exited", 2),
			}, 2, nil,
		},
	} {
		_, removed := retained(ledger.Ledger{}, c.containers, "", c.keep)
		var got []string
		for _, r := range removed {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, c.removed) {
			t.Errorf("%s: removed %v, want %v", name, got, c.removed)
		}
	}
}
