package barrierwait

import (
	"context"
	"fmt"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner. It cannot foresee whether the containers get
// ready, or how long it takes.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	boot, err := state.Outputs[state.BootOutputs](in.Upstream, "boot")
	if err != nil {
		return stages.Forecast{}, err
	}
	g, err := newGate(ctx, in, boot)
	if err != nil {
		return stages.Forecast{}, err
	}
	out := state.BarrierWaitOutputs{Verdict: state.Verdict{Release: in.Release, Open: true}, Targets: map[string]state.BarrierTarget{}}
	for key, t := range boot.Targets {
		out.Targets[key] = state.BarrierTarget{Containers: t.IDs(), Ready: true}
	}
	again := g.attempt.Closed() && ahead.Started() // Who boots again wants a new verdict.
	var p stages.Pending
	switch {
	case g.attempt.Verdict == nil || again:
		p.Acts = []stages.Act{stages.To(stages.Open, "the barrier once %d of %d %s", g.count.Needed, g.count.Total, areReady(in))}
	case g.attempt.Closed():
		p.Err = exit.With(exit.BarrierClosed, fmt.Errorf("barrier closed: %s", g.verdict.Reason), "correct the cause and deploy again")
	}
	return stages.Forecast{Pending: []stages.Pending{p}, Outputs: out}, p.Err
}

func areReady(in stages.Input) string {
	all, counted := plan.Primary(in.All), "container"
	if all[0].Role.Replicas > 1 {
		counted = "host"
	}
	if len(all) == 1 {
		return fmt.Sprintf("%s %s is ready", in.Config.PrimaryRole, counted)
	}
	return fmt.Sprintf("%s %ss are ready", in.Config.PrimaryRole, counted)
}
