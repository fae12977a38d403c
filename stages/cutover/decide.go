package cutover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// scene is what a proxied role is like when it has to move.
type scene struct {
	table *traffic.Table
	front engine.Container // The proxy.
	runs  bool
}

// look observes the host's routes and its proxy at once.
func (m *move) look(ctx context.Context) (scene, error) {
	var now scene
	var wg sync.WaitGroup
	errs := make([]error, 2)
	wg.Go(func() { now.table, errs[0] = traffic.ReadTable(ctx, m.w.Host, m.w.Names.RouteDir()) })
	wg.Go(func() { now.front, now.runs, errs[1] = m.observe(ctx) })
	wg.Wait()
	return now, errors.Join(errs...)
}

// live are the ids of the role's containers that get traffic now, and whether
// the route is the one that the configuration requires.
func (m *move) live(ctx context.Context) ([]string, bool, error) {
	now := stages.Switch(m.in, m.w, nil)
	live, err := now.Live(ctx, slices.Concat(m.old, m.fresh))
	if err != nil {
		return live, false, err
	}
	current, err := now.Current(ctx, m.fresh)
	return live, current, err
}

// admitting is the change that gives the new containers the traffic; with all of
// it already, only their route is another one.
func (m *move) admitting(live []string) stages.Act {
	if m.alone(live) {
		return stages.To(stages.Write, "the route of %s", m.w.Target.Role.Name)
	}
	return toward(m.fresh)
}

// settled reports whether the new containers alone have the traffic.
func (m *move) settled(live []string) bool {
	return len(m.old)+len(m.routes) == 0 && len(m.waiting()) == 0 && m.alone(live)
}

// alone reports that the new containers, and no others, have the traffic.
func (m *move) alone(live []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(live)), slices.Sorted(slices.Values(engine.IDs(m.fresh))))
}

// waiting are the new containers that do not run.
func (m *move) waiting() []engine.Container {
	return slices.DeleteFunc(slices.Clone(m.fresh), engine.Container.Running)
}

// able refuses to leave the old containers for ones that do not run. Those that
// waited for the barrier start only after the old ones stopped.
func (m *move) able(ctx context.Context) error {
	for _, c := range m.waiting() {
		if m.w.Target.Proxied || m.w.Target.Role.Start != "after-barrier" {
			m.w.Evidence(ready.Diagnose(ctx, m.w.Host, c.ID)...)
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
