package stages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/task"
)

// TaskInputs are what the containers of tasks are made from.
type TaskInputs struct {
	Push state.PushOutputs
	Env  state.EnvPushOutputs
	// Read reads an env file on the work's host, if it is the one that
	// env-push wrote.
	Read func(context.Context, *Work, state.EnvTarget) (map[string]string, error)
}

// TasksBeforeBoot runs the release's tasks of that moment, one after another,
// and prepares the later ones. Each is run by the job that has its role and
// host among its targets; the others wait for that. It returns records of the
// hosts that it worked on: after a failure only of the one that failed.
func TasksBeforeBoot(ctx context.Context, in Input, from TaskInputs) ([]state.Target, error) {
	var records []state.Target
	for _, t := range in.Config.Tasks.All {
		place, ours := in.place(t)
		if !ours {
			if t.Run == config.BeforeBoot && !from.Push.GoesBack {
				if err := await(ctx, in, t, place); err != nil {
					return nil, err
				}
			}
			continue
		}
		done, err := onHost(ctx, in, place, func(ctx context.Context, w *Work) error {
			one := in.task(w, t)
			if from.Push.GoesBack {
				return one.Skip(ctx)
			}
			one.Spec = func(ctx context.Context) (engine.Spec, error) { return spec(ctx, in, w, t, place, from) }
			if t.Run == config.BeforeBoot {
				return one.Run(ctx)
			}
			return one.Prepare(ctx)
		})
		if err != nil {
			return done, err
		}
		records = add(records, done[0])
	}
	return records, nil
}

// TasksAfterCutover runs the tasks of that moment, once every host serves the
// release: the last job to see to that runs them. It returns the records of
// what was done before with what it did.
func TasksAfterCutover(ctx context.Context, in Input, before []state.Target) ([]state.Target, error) {
	tasked, err := afterCutover(ctx, in)
	for i, t := range before {
		at := slices.IndexFunc(tasked, func(h state.Target) bool { return h.Host == t.Host && len(h.Changed) > 0 })
		if at < 0 {
			continue
		}
		before[i].Changed = slices.Concat(t.Changed, tasked[at].Changed)
		if t.Status == state.Unchanged {
			before[i].Status = state.OK
		}
	}
	return before, err
}

func afterCutover(ctx context.Context, in Input) ([]state.Target, error) {
	later := slices.DeleteFunc(in.tasks(), func(t config.Task) bool { return t.Run != config.AfterCutover })
	if len(later) == 0 {
		return nil, nil
	}
	everywhere, err := serves(ctx, in)
	if err != nil {
		return nil, err
	}
	if !everywhere {
		in.Report.Emit(report.Event{Kind: report.Notice, Message: fmt.Sprintf(
			"task %s waits until the release serves on all hosts: the last job of cutover runs it", later[0].Name)})
		return nil, nil
	}
	var records []state.Target
	for _, t := range later {
		place, _ := in.place(t)
		done, err := onHost(ctx, in, place, func(ctx context.Context, w *Work) error { return in.task(w, t).Run(ctx) })
		if err != nil {
			return done, err
		}
		records = add(records, done[0])
	}
	return records, nil
}

// ForeseeTasks is what TasksBeforeBoot, with the earlier moment, and
// TasksAfterCutover would do on the work's host.
func ForeseeTasks(ctx context.Context, in Input, w *Work, moment string) error {
	for _, t := range in.tasks() {
		place, ours := in.place(t)
		if !ours || place.Host != w.Target.Host {
			continue
		}
		one := in.task(w, t)
		create, run, err := one.Pending(ctx)
		if err != nil {
			return err
		}
		if create && moment == config.BeforeBoot {
			act := To(Create, "%s", one.Container)
			act.Detail = append(act.Detail, in.Secrets.Redact("runs "+strings.Join(t.Cmd, " ")))
			spec := plan.Task(in.Config, w.Names, place, t, in.Version, in.Release, state.PushOutputs{}, state.EnvTarget{})
			for _, text := range plan.Risks(spec, in.Config.EffectiveVolumes(place.Role)) {
				act.Detail = append(act.Detail, "! "+in.Secrets.Redact(text))
			}
			w.Intend(act)
		}
		if run && moment == t.Run {
			w.Intend(To(Run, "%s", one))
		}
	}
	return nil
}

// tasks are the release's; going back runs none, whichever command runs the stage.
func (in Input) tasks() []config.Task {
	if push, err := state.Outputs[state.PushOutputs](in.Upstream, "push"); err != nil || push.GoesBack {
		return nil
	}
	return slices.Clone(in.Config.Tasks.All)
}

// place is the target that a task is run as, and whether it is one of ours.
func (in Input) place(t config.Task) (place plan.Target, ours bool) {
	role, host := in.Config.TaskPlace(t)
	is := func(p plan.Target) bool { return p.Role.Name == role && p.Host == host }
	return in.All[slices.IndexFunc(in.All, is)], slices.ContainsFunc(in.Targets, is)
}

// task is a task on the work's host.
func (in Input) task(w *Work, t config.Task) task.Task {
	labels := RoleLabels(in.Config, "")
	labels[engine.LabelTask] = t.Name
	return task.Task{
		Host: w.Host, Name: t.Name, Container: w.Names.Task(t.Name, in.Version), Labels: labels,
		Release: in.Release, Ledger: w.Names.Ledger(), Timeout: t.Timeout.D(), Did: w.Did,
		Notice: func(format string, args ...any) {
			in.Report.Emit(report.Event{Kind: report.Notice, Host: w.Target.Host, Message: fmt.Sprintf(format, args...)})
		},
		Say: func(line string) {
			in.Report.Emit(report.Event{Kind: report.Output, Host: w.Target.Host, Message: line})
		},
	}
}

func spec(ctx context.Context, in Input, w *Work, t config.Task, place plan.Target, from TaskInputs) (engine.Spec, error) {
	env := from.Env.Targets[place.Key()]
	spec := plan.Task(in.Config, w.Names, place, t, in.Version, in.Release, from.Push, env)
	values, err := from.Read(ctx, w.Of(place), env)
	if err != nil {
		return spec, err
	}
	maps.Copy(values, spec.Env)
	spec.Env = values
	return spec, nil
}

// onHost works on the host of one target.
func onHost(ctx context.Context, in Input, place plan.Target, do func(context.Context, *Work) error) ([]state.Target, error) {
	records, _, err := EachHost(ctx, in, []plan.Target{place}, func(ctx context.Context, w *Work) (struct{}, error) {
		return struct{}{}, do(ctx, w)
	})
	return records, err
}

// add puts another record of a host to those that there are.
func add(records []state.Target, one state.Target) []state.Target {
	at := slices.IndexFunc(records, func(r state.Target) bool { return r.Host == one.Host })
	if at < 0 {
		return append(records, one)
	}
	records[at] = Merge([]state.Target{records[at]}, []state.Target{one})[0]
	return records
}

// await waits for a task that another job runs.
func await(ctx context.Context, in Input, t config.Task, place plan.Target) error {
	_, err := onHost(ctx, in, place, func(ctx context.Context, w *Work) error { return in.task(w, t).Await(ctx) })
	return err
}

// serves reports whether the release is in service at every target of the config,
// as the hosts' ledgers have it.
func serves(ctx context.Context, in Input) (bool, error) {
	_, books, err := EachHost(ctx, in, in.All, func(ctx context.Context, w *Work) (ledger.Ledger, error) {
		return ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(in.All, func(t plan.Target) bool {
		r, _ := books[t.Host].Find(in.Release)
		return len(r.Live[t.Role.Name]) == 0
	}), nil
}
