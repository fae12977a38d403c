package prune

import (
	"slices"

	"github.com/kstep/kstep/internal/engine"
)

// others takes the containers that are of no role out of a host's, and returns
// which of them are over. Those of older releases' tasks go when they have
// ended: the ledger knows what became of them. One that only lent its files, to
// copy assets out of an image, goes always: its run was killed.
func others(containers []engine.Container, release string) (roles, over []engine.Container) {
	for _, c := range containers {
		task := c.Labels[engine.LabelTask] != ""
		switch {
		case c.Labels[engine.LabelRole] != "":
			roles = append(roles, c)
		case !c.Up() && (!task || c.Labels[engine.LabelRelease] != release):
			over = append(over, c)
		}
	}
	return roles, slices.Clip(over)
}
