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
	return stages.Switch(m.in, m.w, nil).Live(ctx, slices.Concat(m.old, m.fresh))
}

// settled tells that the new containers alone have the traffic.
func (m *move) settled(live []string) bool {
	return len(m.old)+len(m.routes) == 0 && len(m.waiting()) == 0 &&
		slices.Equal(slices.Sorted(slices.Values(live)), slices.Sorted(slices.Values(engine.IDs(m.fresh))))
}

// waiting are the new containers that do not run.
func (m *move) waiting() []engine.Container {
	return slices.DeleteFunc(slices.Clone(m.fresh), engine.Container.Running)
}

// able refuses to leave the old containers for ones that do not run. Those that
// waited for the barrier start only after the old ones stopped.
func (m *move) able() error {
	for _, c := range m.waiting() {
		if m.w.Target.Proxied || m.w.Target.Role.Start != "after-barrier" {
			return fmt.Errorf("the new container %s is %s, not running: %s", c.Name, c.State, m.kept)
		}
	}
	return nil
}

func toward(fresh []engine.Container) stages.Act {
	return stages.To(stages.Move, "traffic to %s", engine.NamesOf(fresh))
}

func stopping(c engine.Container) stages.Act { return stages.To(stages.Stop, "%s", c.Name) }

func starting(c engine.Container) stages.Act { return stages.To(stages.Start, "%s", c.Name) }
