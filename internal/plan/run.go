package plan

import (
	"path"
	"strings"

	"github.com/kstep/kstep/internal/engine"
)

// RunOf is the run directory that one of the service's containers was made from:
// its label, or for one that has none what is mounted into it. It is empty where
// nothing shows it.
func (n Names) RunOf(c engine.Container) string {
	if run := c.Labels[engine.LabelRun]; path.IsAbs(run) {
		return path.Clean(run)
	}
	for _, m := range c.Mounts {
		for _, below := range []string{"cords", "assets"} {
			sign := "/" + n.Base() + "/" + below + "/" + c.Labels[engine.LabelRole] + "@"
			if run, _, found := strings.Cut(m.Source, sign); found && path.IsAbs(run) {
				return path.Clean(run)
			}
		}
	}
	return ""
}
