package cutover

import (
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// warnLeft prints once for a release which hosts are no longer configured and
// still have the service: the job that works on the lease host does.
func (c *cutover) warnLeft() {
	var known []string
	own := false
	for host, s := range c.hosts {
		known = append(known, s.known...)
		own = own || host == plan.LeaseHost(c.in.All)
	}
	if !own {
		return
	}
	for _, host := range stages.LeftHosts(c.in, known) {
		c.in.Warn("%s", stages.LeftHost(c.in.Config, host))
	}
}
