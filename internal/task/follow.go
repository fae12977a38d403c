package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
)

// look is the pause between two looks where no event reports a change: a file
// on a host, and an engine that has just broken a stream.
const look = 500 * time.Millisecond

// follow passes on the container's output until it ends, and stops it when its
// time is over.
func (t Task) follow(ctx context.Context, id string, since time.Time) (c engine.Container, stopped bool, err error) {
	c, err = t.Host.Engine().Inspect(ctx, id)
	if err != nil {
		return c, false, err
	}
	out := &output{task: t, id: id, since: since}
	// Counted from the container's start.
	left := t.Timeout
	if ran := time.Since(c.Started); !c.Started.IsZero() && ran > 0 && !over(c) {
		left = max(0, left-ran)
	}
	timed, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	for failures := 0; ; failures++ {
		out.follow(timed)
		err := t.Host.Engine().WaitFor(timed, id, func(now engine.Container) (bool, error) {
			c = now
			return over(now), nil
		})
		switch {
		case err == nil:
			out.follow(ctx) // What came while the stream was closed.
			return c, false, nil
		case ctx.Err() != nil, failures == reconnects:
			return c, false, err
		case timed.Err() != nil:
			c, err = t.stop(ctx, id)
			return c, true, err
		case errors.Is(err, engine.ErrNotFound):
			return c, false, t.unclear("its container was removed while it ran")
		}
		_ = pause(timed) // The next attempt returns what ended it.
	}
}

// reconnects is how often a task is followed again whose engine does not answer.
const reconnects = 5

// output is what a task writes, each line passed on once.
type output struct {
	task  Task
	id    string
	since time.Time
	told  int
	mute  bool
}

// follow passes on the lines that were not passed on yet. An output that cannot
// be read (some log drivers do not return it) is no failure of the task.
func (o *output) follow(ctx context.Context) {
	if o.mute {
		return
	}
	n := 0
	err := o.task.Host.Engine().Follow(ctx, o.id, o.since, func(line string) {
		if n++; n > o.told {
			o.told = n
			o.task.Say(line)
		}
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, engine.ErrUnreachable) {
		o.mute = true
		o.task.Notice("the output of %s cannot be shown: %s", o.task, err)
	}
}

func (t Task) stop(ctx context.Context, id string) (engine.Container, error) {
	if err := t.Host.Engine().Stop(ctx, id, engine.Stop{}); err != nil {
		return engine.Container{}, fmt.Errorf("stop %s after %s: %w", t, t.Timeout, err)
	}
	return t.Host.Engine().Inspect(ctx, id)
}

// outlast waits until no other release's container of the task runs: its runner
// may be gone, but not its work.
func (t Task) outlast(ctx context.Context, all []engine.Container) error {
	for _, c := range all {
		if c.Labels[engine.LabelRelease] == t.Release || over(c) || c.State == "created" {
			continue
		}
		t.Notice("%s of release %s still runs: waiting for its end", t, c.Labels[engine.LabelRelease])
		waiting, cancel := context.WithTimeoutCause(ctx, t.Timeout, exit.Errorf(exit.Deadline,
			"%s of release %s still runs in %s after %s", t, c.Labels[engine.LabelRelease], c.Name, t.Timeout))
		defer cancel()
		err := t.Host.Engine().WaitFor(waiting, c.ID, func(now engine.Container) (bool, error) { return over(now), nil })
		switch {
		case err == nil, errors.Is(err, engine.ErrNotFound):
		case waiting.Err() != nil:
			return context.Cause(waiting)
		default:
			return err
		}
	}
	return nil
}

// Await waits until another job of the release has run the task.
func (t Task) Await(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	for told := false; ; {
		book, err := ledger.Read(waiting, t.Host.Files(), t.Ledger)
		switch noted := book.Task(t.Release, t.Name); {
		case err != nil && waiting.Err() == nil:
			return err
		case noted.Status.Over():
			return nil
		case noted.Status == ledger.TaskFailed:
			return exit.With(exit.Failed, fmt.Errorf("%s failed on %s with exit status %d", t, t.Host.Name(), noted.ExitCode),
				"the job that has this host in its shard runs it again; run that first, and then this")
		case noted.Status == ledger.TaskUnclear:
			return t.stopped()
		}
		if !told {
			told = true
			t.Notice("waiting for %s, which another job runs on %s", t, t.Host.Name())
		}
		if err := pause(waiting); err != nil && ctx.Err() != nil {
			return err
		}
		if waiting.Err() != nil {
			return exit.With(exit.Deadline, fmt.Errorf("no job has run %s on %s within %s", t, t.Host.Name(), t.Timeout),
				"the job that has this host in its shard runs it: run that before this, or at the same time")
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(look):
		return nil
	}
}

// over reports whether a container has run and ended.
func over(c engine.Container) bool { return c.State == "exited" || c.State == "dead" }
