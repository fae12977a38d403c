package cutover

import (
	"context"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/stages"
)

// live are the ids of the role's containers that get traffic now.
func (m *move) live(ctx context.Context) ([]string, error) {
	return stages.Switch(m.in, m.w, nil).Live(ctx, append(slices.Clone(m.old), m.fresh))
}

// settled tells that the new container alone has the traffic.
func (m *move) settled(live []string) bool {
	return slices.Equal(live, []string{m.fresh.ID}) && len(m.old) == 0 && m.fresh.Running()
}

// able refuses to leave the old container for one that does not run. One that
// waited for the barrier starts only after the old one stopped.
func (m *move) able() error {
	switch {
	case m.fresh.Running():
		return nil
	case m.w.Target.Proxied:
		return fmt.Errorf("the new container is %s, not running: the old version serves on", m.fresh.State)
	case m.w.Target.Role.Start != "after-barrier":
		return fmt.Errorf("the new container is %s, not running: the old version works on", m.fresh.State)
	}
	return nil
}

func toward(fresh engine.Container) stages.Act {
	return stages.To(stages.Move, "traffic to %s", fresh.Name)
}

func stopping(c engine.Container) stages.Act { return stages.To(stages.Stop, "%s", c.Name) }

func starting(c engine.Container) stages.Act { return stages.To(stages.Start, "%s", c.Name) }
