package prune

import (
	"slices"

	"github.com/kstep/kstep/internal/engine"
)

// tasks takes the containers of tasks out of a host's. Those of older releases
// go when they have ended: the ledger knows what became of them.
func tasks(containers []engine.Container, release string) (roles, ended []engine.Container) {
	for _, c := range containers {
		switch {
		case c.Labels[engine.LabelTask] == "":
			roles = append(roles, c)
		case !c.Up() && c.Labels[engine.LabelRelease] != release:
			ended = append(ended, c)
		}
	}
	return roles, slices.Clip(ended)
}
