package cutover

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// moves are the moves of this run by target, for the look at its end.
type moves struct {
	mu  sync.Mutex
	all map[string]*move
}

func (m *moves) add(key string, one *move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[key] = one
}

// lasting looks once more at every container that is in service now, before the
// stage says so. A container that died since it was ready makes its target fail:
// in a role without traffic the old containers are started again, as far as this
// run stopped them.
func (c *cutover) lasting(ctx context.Context, records []state.Target, results map[string]state.CutoverTarget) error {
	in := c.in
	moved := slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool { return !results[t.Key()].Done })
	looked, outs, err := stages.Each(ctx, in, moved, func(ctx context.Context, w *stages.Work) (state.CutoverTarget, error) {
		out := results[w.Target.Key()]
		w.Containers = out.Containers
		m := c.made.all[w.Target.Key()]
		counts, err := stages.Lasting(ctx, in, w, out.Containers, m.since(c.hosts[w.Target.Host].restarts))
		out.Restarts = counts
		if err == nil {
			return out, nil
		}
		if m == nil || w.Target.Proxied || len(m.out.Stopped) == 0 || exit.CodeOf(err) != exit.Failed || ctx.Err() != nil {
			return out, err
		}
		m.w, m.out = w, &out
		return out, m.undo(ctx, err)
	})
	maps.Copy(results, outs)
	for _, now := range looked {
		at := slices.IndexFunc(records, func(t state.Target) bool { return t.Host == now.Host && t.Role == now.Role })
		if now.Status.Done() && len(now.Changed) == 0 || at < 0 {
			continue
		}
		now.Started, now.Changed = records[at].Started, append(slices.Clone(records[at].Changed), now.Changed...)
		records[at] = now
	}
	return err
}

// since adds the containers that the move started to the restarts that were
// seen before it.
func (m *move) since(restarts map[string]int) map[string]int {
	if m == nil || len(m.started) == 0 {
		return restarts
	}
	all := map[string]int{}
	maps.Copy(all, restarts)
	for _, id := range m.started {
		all[id] = 0
	}
	return all
}

// undo stops the new containers of a role without traffic, and starts the old
// ones again.
func (m *move) undo(ctx context.Context, cause error) error {
	m.out.Done = false
	return m.restart(ctx, slices.DeleteFunc(slices.Clone(m.fresh), func(c engine.Container) bool {
		return slices.Contains(m.before, c.ID)
	}), cause)
}

// holds moves the traffic back from new containers that died under it, while the
// old ones still run.
func (m *move) holds(ctx context.Context, to traffic.Switch, word traffic.Word) error {
	if len(m.had) == 0 || len(m.old) == 0 || len(m.orphans)+len(m.removed) > 0 {
		return nil // What has left the configuration is not put back.
	}
	_, err := stages.Lasting(ctx, m.in, m.w, engine.IDs(m.fresh), m.restarts)
	if exit.CodeOf(err) != exit.Failed || ctx.Err() != nil {
		return err
	}
	m.out.Done = false
	back := m.back(ctx, to, word, m.had, err)
	if exit.CodeOf(back) != exit.RolledBack {
		m.out.Done = true
		return errors.Join(back, errors.New("the new containers have the traffic"))
	}
	return back
}
