package stages

import (
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// changesPending is the result of a plan with something to do.
const changesPending = "pending"

// Result sums up what the session's stages did, for CI systems. err is what the
// command ends with.
func (s *Session) Result(err error) report.Result {
	sum := report.Result{
		Status: string(state.Unchanged), ExitCode: int(exit.CodeOf(err)),
		Service: s.Config.Service, Destination: s.Config.Destination,
		Release: s.Release, Version: s.Version, StatePath: s.Dir.Path(), Image: s.image(),
		PlanDigest: s.PlanDigest, Plan: s.Planned, Hosts: s.PlannedHosts,
	}
	for _, f := range s.Done {
		sum.Changed = sum.Changed || slices.ContainsFunc(f.Targets, func(t state.Target) bool { return len(t.Changed) > 0 }) || f.Status == state.OK
		for _, t := range f.Targets {
			if !slices.Contains(sum.Hosts, t.Host) {
				sum.Hosts = append(sum.Hosts, t.Host)
			}
		}
	}
	if sum.Changed {
		sum.Status = string(state.OK)
	}
	if s.Planned != nil && s.Planned.Changes() > 0 {
		sum.Status = changesPending
	}
	if len(s.Done) == 1 && s.Done[0].Release != "" {
		sum.StatePath = s.Dir.File(s.Done[0].Stage, s.Done[0].Shard)
	}
	if err != nil && exit.CodeOf(err) != exit.ChangesPending {
		sum.Status = string(state.Failed)
		if len(s.Done) > 0 {
			sum.Status = string(s.Done[len(s.Done)-1].Status)
		}
	}
	return sum
}

// image is the release's image by digest, once push has recorded it.
func (s *Session) image() string {
	set, err := s.Dir.ReadSet([]string{"push"}, state.Expect{
		Service: s.Config.Service, Destination: s.Config.Destination, Release: s.Release,
	})
	if err != nil {
		return "" // Not pushed yet, or its own failure already reported.
	}
	push, err := state.Outputs[state.PushOutputs](set, "push")
	if err != nil {
		return ""
	}
	return push.Reference()
}
