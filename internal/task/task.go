// Package task runs what a release does once, such as a database migration, in
// a container of its own. That container and the host's ledger together show
// what became of it, also when the process that started it was killed: a task
// that succeeded, or may have, never runs again in its release; one that runs
// is followed; one that failed may be tried again.
package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// Task is a task of one release on its host.
type Task struct {
	Host host.Host
	// Name is what the config calls it, Container what its container is named.
	Name, Container string
	// Labels select the containers of all releases of this task.
	Labels  map[string]string
	Release string
	// Ledger is the path of the host's ledger, which knows the release.
	Ledger string
	// Timeout is how long it may run.
	Timeout time.Duration
	// Spec is the wanted container with its environment. Nil for who only runs
	// what was prepared.
	Spec func(context.Context) (engine.Spec, error)
	// Did notes what was done, Say passes on a line of the task's output, Notice
	// shows a notice to the user.
	Did, Notice func(format string, args ...any)
	Say         func(line string)
}

// Prepare makes the container and does not start it.
func (t Task) Prepare(ctx context.Context) error {
	book, err := ledger.Read(ctx, t.Host.Files(), t.Ledger)
	if err != nil {
		return err
	}
	switch noted := book.Task(t.Release, t.Name); noted.Status {
	case "", ledger.TaskFailed:
		_, err = t.container(ctx, noted, false)
		return err
	default:
		return nil
	}
}

// Skip makes sure that no process runs the task in this release.
func (t Task) Skip(ctx context.Context) error {
	book, err := ledger.Read(ctx, t.Host.Files(), t.Ledger)
	if err != nil || book.Task(t.Release, t.Name).Status != "" {
		return err
	}
	return t.note(ctx, ledger.Task{Status: ledger.TaskSkipped})
}

// Run runs the task to its end, unless it has done its work.
func (t Task) Run(ctx context.Context) error {
	book, err := ledger.Read(ctx, t.Host.Files(), t.Ledger)
	if err != nil {
		return err
	}
	if _, known := book.Find(t.Release); !known {
		return exit.With(exit.BadState, fmt.Errorf("the ledger of %s does not know the release", t.Host.Name()), "run kstep assets again")
	}
	noted := book.Task(t.Release, t.Name)
	switch noted.Status {
	case ledger.TaskDone, ledger.TaskSkipped:
		return nil
	case ledger.TaskUnclear:
		return t.stopped()
	}
	c, err := t.container(ctx, noted, true)
	if err != nil {
		return err
	}
	began := time.Now()
	c, stopped, err := t.end(ctx, c, noted)
	if err != nil {
		return err
	}
	return t.judge(ctx, c, stopped, time.Since(began))
}

// Pending returns what Prepare and Run would do now: make a container, and run
// it or follow it to its end.
func (t Task) Pending(ctx context.Context) (create, run bool, err error) {
	book, err := ledger.Read(ctx, t.Host.Files(), t.Ledger)
	if err != nil {
		return false, false, err
	}
	noted := book.Task(t.Release, t.Name)
	switch noted.Status {
	case ledger.TaskDone, ledger.TaskSkipped:
		return false, false, nil
	case ledger.TaskUnclear:
		return false, false, t.stopped()
	}
	all, err := t.Host.Engine().Containers(ctx, engine.Filter{Labels: t.Labels, All: true})
	own := t.own(all)
	if err == nil && own < 0 && noted.Status == ledger.TaskStarted {
		err = t.unclear("its container is gone")
	}
	return own < 0 || (noted.Status == ledger.TaskFailed && noted.Container == all[own].ID), true, err
}

// end starts the container if it is its turn, and follows it to its end.
func (t Task) end(ctx context.Context, c engine.Container, noted ledger.Task) (ended engine.Container, stopped bool, err error) {
	var since time.Time // The engine notes a start after the first output may have come.
	switch again := noted.Status == ledger.TaskFailed && noted.Container == c.ID; {
	case c.State == "created", again && over(c):
		if again {
			before, err := t.Host.Engine().Inspect(ctx, c.ID)
			if err != nil {
				return c, false, err
			}
			since = before.Finished
		}
		if err := t.start(ctx, c, noted); err != nil {
			return c, false, err
		}
	default:
		t.Notice("%s was started before: following %s", t, c.Name)
	}
	ended, stopped, err = t.follow(ctx, c.ID, since)
	if err != nil && ctx.Err() != nil {
		err = exit.Hint(fmt.Errorf("%s goes on in %s: %w", t, t.Container, context.Cause(ctx)),
			"run the same command again to follow it")
	}
	return ended, stopped, err
}

// claimed is how long another job may take from its word that it starts the
// container to the start. After that it must have been killed in between.
const claimed = 5 * time.Second

// start lets the container run, unless another job of the release has just done
// that: started again, it would do its work twice.
func (t Task) start(ctx context.Context, c engine.Container, seen ledger.Task) error {
	for {
		mine, now, err := t.claim(ctx, c, seen)
		if err != nil {
			return err
		}
		if mine {
			if err := t.Host.Engine().Start(ctx, c.ID); err != nil {
				return fmt.Errorf("start %s: %w", t, err)
			}
			return nil
		}
		t.Notice("%s was started by another job: following %s", t, c.Name)
		waiting, cancel := context.WithTimeout(ctx, claimed)
		err = t.Host.Engine().WaitFor(waiting, c.ID, func(now engine.Container) (bool, error) { return now.State != "created", nil })
		late := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		if !late {
			return err
		}
		seen = now
	}
}

// claim notes in the ledger that the container is started, unless another
// process did since the task was seen. It returns the ledger's current entry.
func (t Task) claim(ctx context.Context, c engine.Container, seen ledger.Task) (mine bool, now ledger.Task, err error) {
	record := ledger.Task{Status: ledger.TaskStarted, Container: c.ID, At: time.Now().UTC()}
	book, err := ledger.Update(ctx, t.Host.Files(), t.Ledger, func(l *ledger.Ledger) bool {
		if mine && l.Task(t.Release, t.Name).At.Equal(record.At) {
			return false // Called again, with what was written.
		}
		mine = l.StartTask(t.Release, t.Name, seen, record)
		return mine
	})
	return mine, book.Task(t.Release, t.Name), err
}

// judge writes down how the task ended.
func (t Task) judge(ctx context.Context, c engine.Container, stopped bool, took time.Duration) error {
	late := stopped || c.Finished.Sub(c.Started) >= t.Timeout // Stopped by a run that was killed.
	record := ledger.Task{Status: ledger.TaskDone, Container: c.ID, ExitCode: c.ExitCode}
	switch {
	case c.ExitCode != 0:
		record.Status = ledger.TaskFailed
	case late:
		record.Status = ledger.TaskUnclear
	}
	if err := t.note(ctx, record); err != nil {
		return err
	}
	logs := fmt.Sprintf("kstep task logs %s shows its output", t.Name)
	switch {
	case record.Status == ledger.TaskDone:
		t.Did("ran %s", t)
		t.Notice("%s took %s", t, took.Round(time.Millisecond))
		return nil
	case record.Status == ledger.TaskUnclear:
		return t.stopped()
	case late:
		return exit.With(exit.Failed, fmt.Errorf("%s was stopped after %s (exit status %d)", t, t.Timeout, c.ExitCode),
			logs, "raise its timeout, and run the same command again: it runs once more")
	case c.OOMKilled:
		return exit.With(exit.Failed, fmt.Errorf("%s ran out of memory (exit status %d)", t, c.ExitCode),
			logs, "give it more memory, and run the same command again: it runs once more")
	}
	return exit.With(exit.Failed, fmt.Errorf("%s failed with exit status %d", t, c.ExitCode),
		logs, "correct the cause and run the same command again: it runs once more")
}

// container is the task's own: the one that is there, or a new one. With settle
// it waits for those of other releases that still run, and a failure that was
// reported before makes room for another try.
func (t Task) container(ctx context.Context, noted ledger.Task, settle bool) (engine.Container, error) {
	all, err := t.Host.Engine().Containers(ctx, engine.Filter{Labels: t.Labels, All: true})
	if err != nil {
		return engine.Container{}, err
	}
	own := t.own(all)
	if settle {
		if err := t.outlast(ctx, all); err != nil {
			return engine.Container{}, err
		}
	}
	switch {
	case own < 0 && noted.Status == ledger.TaskStarted:
		return engine.Container{}, t.unclear("its container is gone")
	case own < 0:
	case all[own].State == "created":
		return t.renew(ctx, all[own])
	case noted.Status == ledger.TaskFailed && noted.Container == all[own].ID && t.Spec != nil:
	default:
		return all[own], nil
	}
	if t.Spec == nil {
		return engine.Container{}, exit.With(exit.BadState, fmt.Errorf("the container of %s is gone", t), "run kstep boot again, and then this")
	}
	return t.create(ctx, all)
}

// own is the index of the release's container, or -1.
func (t Task) own(all []engine.Container) int {
	return slices.IndexFunc(all, func(c engine.Container) bool {
		return c.Name == t.Container && c.Labels[engine.LabelRelease] == t.Release
	})
}

// renew exchanges a container that never ran for one that is wanted now.
func (t Task) renew(ctx context.Context, c engine.Container) (engine.Container, error) {
	if t.Spec == nil {
		return c, nil
	}
	spec, err := t.Spec(ctx)
	if err != nil {
		return c, err
	}
	if len(c.Outside(spec.Networks)) == 0 && spec.Labels[engine.LabelSpec] == c.Labels[engine.LabelSpec] {
		return c, nil
	}
	if err := t.Host.Engine().Remove(ctx, c.ID); err != nil {
		return c, err
	}
	return t.make(ctx, spec)
}

// create makes the container, and room for it.
func (t Task) create(ctx context.Context, all []engine.Container) (engine.Container, error) {
	spec, err := t.Spec(ctx)
	if err != nil {
		return engine.Container{}, err
	}
	if at := slices.IndexFunc(all, func(c engine.Container) bool { return c.Name == t.Container }); at >= 0 {
		if err := t.Host.Engine().Rename(ctx, all[at].ID, plan.Replaced(t.Container, all[at].ID)); err != nil {
			return engine.Container{}, fmt.Errorf("make room for %s: %w", t, err)
		}
	}
	return t.make(ctx, spec)
}

func (t Task) make(ctx context.Context, spec engine.Spec) (engine.Container, error) {
	id, err := t.Host.Engine().Create(ctx, spec)
	if errors.Is(err, engine.ErrNotFound) {
		err = exit.Hint(err, fmt.Sprintf("the image is not on %s any more: run kstep assets again", t.Host.Name()))
	}
	if err != nil {
		return engine.Container{}, err
	}
	t.Did("created %s", spec.Name)
	return engine.Container{ID: id, Name: spec.Name, State: "created", Labels: spec.Labels}, nil
}

func (t Task) note(ctx context.Context, record ledger.Task) error {
	record.At = time.Now().UTC()
	_, err := ledger.Update(ctx, t.Host.Files(), t.Ledger, func(l *ledger.Ledger) bool {
		return l.NoteTask(t.Release, t.Name, record)
	})
	return err
}

// unclear refuses to run what may have done its work.
func (t Task) unclear(format string, args ...any) error {
	return exit.With(exit.Failed, fmt.Errorf("%s may have done its work: %s", t, fmt.Sprintf(format, args...)),
		"look whether it has; it does not run again in this release, but in a new one: kstep deploy --new-release")
}

func (t Task) stopped() error {
	return t.unclear("it was stopped after %s and ended as if all were well", t.Timeout)
}

func (t Task) String() string { return "task " + t.Name }
