package stages

import (
	"context"
	"fmt"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/mirror"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
)

// asCopied compares the files that the stage read with their copies on the lease
// host, which only holders of the SSH key can write: an artifact that another job put
// in their place says something else. A file that no stage on hosts has read yet has
// no copy, and one that is sealed needs none.
//
// The comparison runs beside what the stage does meanwhile; wait returns its result.
func (r *run) asCopied(ctx context.Context) (wait func() error) {
	nothing := func() error { return nil }
	var inputs []state.Input
	for _, in := range r.in.Upstream.Inputs() {
		if !slices.ContainsFunc(r.Done, func(f *state.File) bool { return f.Stage == in.Stage }) { // Else this process made it.
			inputs = append(inputs, in)
		}
	}
	if len(r.Config.State.Key) > 0 || !r.info.Hosts || len(inputs) == 0 || len(r.info.Optional) > 0 { // What is optional is no order.
		return nothing
	}
	copies, err := r.Mirror(ctx)
	if err != nil {
		return nothing // The lease is on the same host, and says so.
	}
	result := make(chan error, 1)
	go func() { result <- r.compare(ctx, copies, inputs) }()
	return func() error { return <-result }
}

func (r *run) compare(ctx context.Context, copies mirror.Store, inputs []state.Input) error {
	other, err := copies.Other(ctx, r.Dir, r.Release, inputs)
	if err != nil && ctx.Err() == nil {
		r.in.Warn("the state files could not be compared with their copies on %s: %s", plan.LeaseHost(r.in.All), err)
	}
	if len(other) == 0 {
		return nil
	}
	return exit.With(exit.BadState,
		fmt.Errorf("%s says something else than the copy that its stage left on %s", r.Dir.Path()+"/"+other[0], plan.LeaseHost(r.in.All)),
		"run that stage again (what is already so stays so), or fetch its state file again; if it was not run since, "+whoWrote)
}
