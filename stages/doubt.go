package stages

import (
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// doubt is where a plan does not know what a stage would do, because the image is
// not built yet: a target that has a container of the version keeps it if the
// build makes the same image, and gets another one if not. By target.
type doubt map[string]bool

// doubts are those of the plan, once the hosts were looked at.
func (p *planning) doubts() doubt {
	push, err := state.Outputs[state.PushOutputs](state.NewSet(p.files...), "push")
	if err != nil || push.Known() {
		return nil
	}
	d := doubt{}
	for _, t := range p.in.Targets {
		d[t.Key()] = slices.ContainsFunc(p.ahead.Containers(t.Host, RoleLabels(p.in.Config, t.Role.Name)), func(c engine.Container) bool {
			return c.Labels[engine.LabelVersion] == p.Version
		})
	}
	return d
}

// of reports whether what a stage would do there depends on the build. An
// environment that changes replaces the container anyway.
func (d doubt) of(stage string, one Pending, targets []plan.Target) bool {
	own := func(t plan.Target) bool { return one.Host == "" || t.Host == one.Host }
	certain := func(t plan.Target) bool { return own(t) && !d[t.Key()] }
	doubtful := func(t plan.Target) bool { return own(t) && d[t.Key()] }
	key := state.Key(one.Role, one.Host)
	switch stage {
	case "env-push":
		if one.Role != "" && len(one.Acts) > 0 {
			delete(d, key)
		}
		return false
	case "assets":
		return d[key] || one.Role == "" && slices.ContainsFunc(targets, doubtful)
	case "boot", "cutover": // What all of a host's containers share does not.
		return d[key]
	case "barrier-wait":
		return slices.ContainsFunc(targets, doubtful) && !slices.ContainsFunc(targets, certain)
	case "prune":
		return slices.ContainsFunc(targets, doubtful)
	}
	return false
}
