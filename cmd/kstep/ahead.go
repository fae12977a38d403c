package main

import (
	"context"
	"errors"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/stages"
)

// ahead looks, while an image is built, whether the stages that come after can
// work: the registry lets it push, the hosts answer and can take the new version.
// If not, the build ends at once.
type ahead struct {
	building context.Context
	stop     context.CancelCauseFunc
	done     chan struct{}
	err      error
}

// errUnfit is why a build ends that would be in vain.
var errUnfit = errors.New("the stages after it would fail")

// lookAhead begins to look, if the chain builds.
func lookAhead(ctx context.Context, s *stages.Session, chain []stages.Stage) (*ahead, error) {
	a := &ahead{building: ctx, stop: func(error) {}, done: make(chan struct{})}
	if chain[0].Info().Name != "build" {
		close(a.done)
		return a, nil
	}
	if err := s.Connect(ctx); err != nil {
		return nil, err
	}
	in, err := looking(s)
	if err != nil {
		return nil, err
	}
	in.Report = report.Multi{} // What is wrong is printed once, at the end.
	a.building, a.stop = context.WithCancelCause(ctx)
	go func() {
		defer close(a.done)
		push := make(chan error, 1)
		go func() { push <- mayPush(a.building, s).err }()
		_, err := hostsFit(a.building, in)
		if a.err = errors.Join(err, <-push); a.err != nil {
			a.stop(exit.With(exit.CodeOf(a.err), errUnfit))
		}
	}()
	return a, nil
}

// during is the context of a stage of the chain.
func (a *ahead) during(ctx context.Context, stage int) context.Context {
	if stage == 0 {
		return a.building
	}
	return ctx
}

// end waits for what was found. A stage that failed by itself says more.
func (a *ahead) end(ctx context.Context, failed error) error {
	if failed != nil && context.Cause(a.building) == nil || ctx.Err() != nil {
		a.stop(nil)
		<-a.done
		return nil
	}
	<-a.done
	return a.err
}
