package prune

import (
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
)

// within splits what is retained once more, for hosts with little room: the
// versions that served longest ago go while the images of all take more than
// limit bytes, each image counted once. What runs stays, and so does the version
// that served before the live one.
func within(book ledger.Ledger, kept []engine.Container, images []engine.Image, limit int64) (stay, removed []engine.Container) {
	sizes := map[string]int64{}
	for _, i := range images {
		sizes[i.ID] = i.Size
	}
	ordered := slices.Clone(kept)
	ranks := rank(book.Versions(""), kept)
	slices.SortStableFunc(ordered, ranks.compare)
	stays := ranks.first(1)
	var total int64
	var held []string // Versions.
	counted := map[string]bool{}
	over := false
	for _, c := range ordered {
		version := c.Labels[engine.LabelVersion]
		if !slices.Contains(held, version) {
			if !counted[c.ImageID] {
				total += sizes[c.ImageID]
			}
			over = over || total > limit
			if over && !c.Running() && !slices.Contains(stays, version) {
				removed = append(removed, c)
				continue
			}
			counted[c.ImageID] = true
			held = append(held, version)
		}
		stay = append(stay, c)
	}
	return stay, removed
}
