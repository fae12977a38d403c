package prune

import (
	"slices"
	"strconv"
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

func replica(name, version, state string, number, age int) engine.Container {
	c := container(name, "web", version, state, age)
	c.Labels[engine.LabelReplica] = strconv.Itoa(number)
	return c
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
			}, 1, []string{"web2"}, // v3 may have served before it.
		},
		"all replicas of a kept version stay": {
			[]engine.Container{
				replica("web2", "v2", "running", 1, 1), replica("web.2-2", "v2", "running", 2, 1),
				replica("web1", "v1", "exited", 1, 3), replica("web.2-1", "v1", "exited", 2, 3), replica("web.2-0", "v0", "exited", 2, 4),
			}, 2, []string{"web.2-0"},
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

func TestRetained_NeedsAsManyReplicasAsServedLast(t *testing.T) {
	book := ledger.Ledger{Releases: []ledger.Release{
		{ID: "R1", Version: "v1", Live: map[string][]string{"web": {"web1", "web.2-1", "web.3-1"}}},
		{ID: "R2", Version: "v1", Live: map[string][]string{"web": {"web1", "web.2-1"}}},
		{ID: "R3", Version: "v2", Live: map[string][]string{"web": {"web2"}}},
	}}
	kept, removed := retained(book, []engine.Container{
		replica("web2", "v2", "running", 1, 1), replica("web1", "v1", "exited", 1, 2),
		replica("web.2-1", "v1", "exited", 2, 2), replica("web.3-1", "v1", "exited", 3, 2),
	}, "R3", 5)
	if got, want := engine.NamesOf(kept), "web2, web1, web.2-1"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if got, want := engine.NamesOf(removed), "web.3-1"; got != want {
		t.Errorf("removed %s, want %s", got, want)
	}
}
