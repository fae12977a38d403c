package boot

import (
	"fmt"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// container is what the target should run.
func (from inputs) container(in stages.Input, w *stages.Work) plan.Wanted {
	key := w.Target.Key()
	return plan.Container(in.Config, w.Names, w.Target, in.Version, in.Release, from.push, from.assets.Targets[key], from.env.Targets[key])
}

// todo is what separates a target from its new container, in this order.
type todo struct {
	rename, create, start bool
	out                   state.BootTarget
}

// output is what can be told of a container before it is there.
func output(w *stages.Work, want plan.Wanted) state.BootTarget {
	return state.BootTarget{
		Name: want.Spec.Name, Spec: want.Spec.Labels[engine.LabelSpec], Waiting: w.Target.Role.Start == "after-barrier",
	}
}

// decide compares the container of the wanted name, if there is one, with the
// wanted one. Same name and same spec: it only has to run, or to wait for the
// barrier. In a rollback, what was retained is what is wanted, and nothing is
// made. A container of another service is not touched: `a-b` with role `c`
// and `a` with role `b-c` have the same names.
func decide(w *stages.Work, want plan.Wanted, have engine.Container, found, retained bool) (todo, error) {
	t := todo{out: output(w, want)}
	for _, label := range []string{engine.LabelService, engine.LabelRole, engine.LabelDestination} {
		if found && have.Labels[label] != want.Spec.Labels[label] {
			return t, exit.With(exit.Config,
				fmt.Errorf("%s on %s is not a container of role %s of %s", want.Spec.Name, w.Target.Host, w.Target.Role.Name, w.Names.Base()),
				"rename the service or the role, or remove that container")
		}
	}
	if !found && retained {
		return t, exit.Hint(fmt.Errorf("%s is gone: nothing was retained to go back to", want.Spec.Name),
			"kstep rollback --fresh makes it anew")
	}
	if found && (retained || have.Labels[engine.LabelSpec] == t.out.Spec) {
		t.out.Container, t.out.Spec = have.ID, have.Labels[engine.LabelSpec]
		t.start = !have.Running() && !t.out.Waiting
		return t, nil
	}
	if found {
		t.rename, t.out.Replaced = true, plan.Replaced(have.Name, have.ID)
	}
	t.create, t.start = true, !t.out.Waiting
	return t, nil
}

func renaming(have engine.Container, out state.BootTarget) stages.Act {
	return stages.To(stages.Rename, "%s to %s", have.Name, out.Replaced)
}

func creating(name string) stages.Act { return stages.To(stages.Create, "%s", name) }

func starting(name string) stages.Act { return stages.To(stages.Start, "%s", name) }
