package boot

import (
	"fmt"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// containers are what the target should run: as many as the config says, or in
// a rollback as many as served then.
func (from inputs) containers(in stages.Input, w *stages.Work) []plan.Wanted {
	key := w.Target.Key()
	count := w.Target.Role.Replicas
	if from.push.Retained {
		count = max(1, len(from.books[w.Target.Host].Served(in.Version, w.Target.Role.Name)))
	}
	var all []plan.Wanted
	for number := 1; number <= count; number++ {
		all = append(all, plan.Container(in.Config, w.Names, w.Target, number, in.Version, in.Release,
			from.push, from.assets.Targets[key], from.env.Targets[key]))
	}
	return all
}

// checked refuses what the stages before cannot have recorded of the target.
func (from inputs) checked(in stages.Input, w *stages.Work) error {
	if err := stages.StatedAssets(in, w, from.push, from.assets.Targets[w.Target.Key()]); err != nil {
		return err
	}
	return stages.StatedEnv(w, from.env.Targets[w.Target.Key()])
}

// todo is what separates a target from one of its new containers, in this order.
type todo struct {
	rename, create, start bool
	// connect are networks that an equal container is not in: the run that created
	// it was killed.
	connect []string

	want plan.Wanted
	have engine.Container // If there is one of that name.
	out  state.BootReplica
}

// decide compares all of a target's containers, found by their names, with the
// wanted ones. The output is what is known of them before they are there.
func (from inputs) decide(in stages.Input, w *stages.Work, find func(name string) (engine.Container, bool, error)) (state.BootTarget, []todo, error) {
	if err := from.checked(in, w); err != nil {
		return state.BootTarget{}, nil, err
	}
	wanted := from.containers(in, w)
	book := from.books[w.Target.Host]
	out := state.BootTarget{
		Waiting: waits(w), Old: stages.ServedBefore(in.Release, book),
		Before: book.VersionBefore(in.Release, w.Target.Role.Name),
	}
	for _, want := range wanted {
		out.Replicas = append(out.Replicas, about(want))
	}
	var all []todo
	for _, want := range wanted {
		have, found, err := find(want.Spec.Name)
		if err != nil {
			return out, nil, err
		}
		one, err := decide(w, want, have, found, from.push)
		if err != nil {
			return out, nil, err
		}
		all = append(all, one)
	}
	return out, all, nil
}

func about(want plan.Wanted) state.BootReplica {
	return state.BootReplica{Name: want.Spec.Name, Spec: want.Spec.Labels[engine.LabelSpec]}
}

func waits(w *stages.Work) bool { return w.Target.Role.Start == "after-barrier" }

// decide compares the container of the wanted name, if there is one, with the
// wanted one. Same name and same spec: it only has to run, or to wait for the
// barrier, unless the release is to make all of them anew. In a rollback, what
// was retained is what is wanted, and nothing is made. A container of another
// service is not touched: `a-b` with role `c` and `a` with role `b-c` have the
// same names.
func decide(w *stages.Work, want plan.Wanted, have engine.Container, found bool, push state.PushOutputs) (todo, error) {
	t := todo{want: want, have: have, out: about(want)}
	for _, label := range []string{engine.LabelService, engine.LabelRole, engine.LabelDestination} {
		if found && have.Labels[label] != want.Spec.Labels[label] {
			return t, exit.With(exit.Config,
				fmt.Errorf("%s on %s is not a container of role %s of %s", want.Spec.Name, w.Target.Host, w.Target.Role.Name, w.Names.Base()),
				"rename the service or the role, or remove that container")
		}
	}
	if !found && push.Retained {
		return t, exit.Hint(fmt.Errorf("%s is gone: nothing was retained to go back to", want.Spec.Name),
			"kstep rollback --fresh makes it anew")
	}
	equal := have.Labels[engine.LabelSpec] == t.out.Spec
	older := have.Labels[engine.LabelRelease] != want.Spec.Labels[engine.LabelRelease]
	if found && (push.Retained || equal && !(push.Anew && older)) {
		t.out.Container, t.out.Spec, t.out.Retained = have.ID, have.Labels[engine.LabelSpec], push.Retained
		t.start = !have.Running() && !waits(w)
		if equal {
			t.connect = have.Outside(want.Spec.Networks)
		}
		return t, nil
	}
	if found {
		t.rename, t.out.Replaced = true, plan.Replaced(have.Name, have.ID)
	}
	t.create, t.start = true, !waits(w)
	return t, nil
}

// restart is the restart policy that the container has to get back: it runs, and
// nothing of kstep's would set it then. A kept container was started by hand.
func (t todo) restart(w *stages.Work, book ledger.Ledger) string {
	own := stages.OwnRestart(w, book, t.have)
	if t.create || t.start || !t.have.Running() || t.have.Restart == own {
		return ""
	}
	return own
}

func renaming(have engine.Container, out state.BootReplica) stages.Act {
	return stages.To(stages.Rename, "%s to %s", have.Name, out.Replaced)
}

func creating(name string) stages.Act { return stages.To(stages.Create, "%s", name) }

func starting(name string) stages.Act { return stages.To(stages.Start, "%s", name) }
