package stages

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// file makes the state file of what happened, and the error that the process
// exits with.
func (r *run) file(ctx context.Context, result Result, err error) (*state.File, error) {
	f := &state.File{
		Release: r.Release,
		Service: r.Config.Service, Destination: r.Config.Destination, Version: r.Version,
		Stage: r.info.Name, Shard: r.part(), Tool: r.Tool, Actor: r.Actor, Source: r.Source,
		Config: r.Config.Digest(), Inputs: r.in.Upstream.Inputs(),
		Started: r.started, Finished: time.Now().UTC(), Targets: result.Targets,
	}
	f.Status, err = r.judge(ctx, result, err)
	f.ExitCode = int(exit.CodeOf(err))
	if err != nil {
		f.Reason = err.Error()
	}
	if result.Outputs != nil {
		f.Outputs = encoded(result.Outputs)
	}
	return f, err
}

// encoded are outputs as state files have them: types of package state, which can
// always be written.
func encoded(outputs any) json.RawMessage {
	data, _ := json.Marshal(outputs)
	return data
}

// judge turns the outcome of the targets into the stage's.
func (r *run) judge(ctx context.Context, result Result, err error) (state.Status, error) {
	switch {
	case err == nil && changed(result):
		return state.OK, nil
	case err == nil:
		return state.Unchanged, nil
	case ctx.Err() != nil:
		return state.Interrupted, exit.With(interruption(ctx), err, "run the same command again to go on")
	}
	err = r.AfterMove(err)
	done := slices.ContainsFunc(result.Targets, func(t state.Target) bool { return t.Status.Done() })
	if !done {
		return state.Failed, err
	}
	if r.info.Moves && exit.CodeOf(err) != exit.LeaseHeld { // What was overtaken must not be repeated.
		err = exit.With(exit.Partial, err)
	}
	return state.Partial, err
}

// comesAfterTheMove reports that the stage needs the traffic to be moved.
func (r *run) comesAfterTheMove() bool {
	return slices.ContainsFunc(r.Pipeline, func(s Stage) bool {
		return s.Info().Moves && slices.Contains(r.info.Reads, s.Info().Name)
	})
}

// AfterMove gives an error the code that is true once the release has traffic:
// Failed means that the command has moved none.
func (s *Session) AfterMove(err error) error {
	if s.moved && exit.CodeOf(err) == exit.Failed {
		return exit.With(exit.Partial, err)
	}
	return err
}

// interruption is the exit code of the signal that ended the context.
func interruption(ctx context.Context) exit.Code {
	if e, ok := errors.AsType[*exit.Error](context.Cause(ctx)); ok {
		return e.Code
	}
	return exit.Interrupted
}

func changed(result Result) bool {
	return result.Changed || slices.ContainsFunc(result.Targets, func(t state.Target) bool { return t.Status == state.OK })
}

func (r *run) report(file *state.File, err error) {
	e := report.Event{
		Time: time.Now().UTC(), Kind: report.StageFinished, Stage: r.info.Name,
		Status: string(state.Failed), Duration: time.Since(r.started),
	}
	if file != nil {
		e.Status = string(file.Status)
	}
	if err != nil {
		e.Message = err.Error()
	}
	r.Report.Emit(e)
}
