package prune

import (
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
)

func TestWithin_DropsTheOldestVersionsUntilTheImagesFit(t *testing.T) {
	kept := []engine.Container{
		container("web5", "web", "v5", "running", 1), container("web4", "web", "v4", "exited", 2),
		container("web3", "web", "v3", "exited", 3), container("web2", "web", "v2", "exited", 4), container("job2", "job", "v2", "exited", 4),
	}
	var images []engine.Image
	for i := range kept {
		kept[i].ImageID = kept[i].Labels[engine.LabelVersion]
		images = append(images, engine.Image{ID: kept[i].ImageID, Size: 100})
	}
	for limit, want := range map[int64][]string{
		1000: nil,
		400:  nil,
		399:  {"job2", "web2"},
		300:  {"job2", "web2"},
		200:  {"job2", "web2", "web3"},
		10:   {"job2", "web2", "web3"}, // One to go back to stays.
	} {
		_, removed := within(ledger.Ledger{}, kept, images, limit)
		var got []string
		for _, c := range removed {
			got = append(got, c.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("within %d bytes: removed %v, want %v", limit, got, want)
		}
	}
}
