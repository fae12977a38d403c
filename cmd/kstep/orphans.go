package main

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// orphanStatus is a role that still runs on a host and is not configured there.
type orphanStatus struct {
	Host    string `json:"host"`
	Role    string `json:"role"`
	Version string `json:"version,omitempty"`
	// Containers are those that are up.
	Containers []containerStatus `json:"containers"`
	// Routed is true if the proxy still has a route of the role.
	Routed  bool `json:"routed"`
	proxied bool
	// Deploy is what the next deploy does with it: stop or warn.
	Deploy string `json:"deploy"`
	// Command stops it now.
	Command string `json:"command"`
}

// leftHostStatus is a host that is not in the configuration any more.
type leftHostStatus struct {
	Host string `json:"host"`
	// Command removes the service from it.
	Command string `json:"command"`
}

// leftAccessoryStatus is an accessory that is not configured on the host any more.
type leftAccessoryStatus struct {
	Host      string `json:"host"`
	Accessory string `json:"accessory"`
	// Command removes it there.
	Command string `json:"command"`
	text    string
}

func leftAccessories(ctx context.Context, in stages.Input) ([]leftAccessoryStatus, error) {
	found, err := stages.FindLeftAccessories(ctx, in)
	var all []leftAccessoryStatus
	for _, one := range found {
		all = append(all, leftAccessoryStatus{one.Host, one.Name, one.Command(in.Config), one.Describe(in.Config)})
	}
	return all, err
}

// without leaves out the hosts that have not answered.
func without(in stages.Input, records []state.Target) stages.Input {
	in.Targets = slices.DeleteFunc(slices.Clone(in.Targets), func(t plan.Target) bool {
		return slices.ContainsFunc(records, func(r state.Target) bool { return r.Host == t.Host && r.Error != nil })
	})
	return in
}

// leftHosts are the hosts that have left the configuration, as the ledgers of
// the others list them.
func leftHosts(ctx context.Context, in stages.Input) ([]leftHostStatus, error) {
	hosts, err := stages.FindLeftHosts(ctx, in)
	var all []leftHostStatus
	for _, host := range hosts {
		all = append(all, leftHostStatus{host, stages.RemoveCommand(in.Config, host)})
	}
	return all, err
}

// orphansBeside are the orphans on the hosts of the input.
func orphansBeside(ctx context.Context, in stages.Input) ([]orphanStatus, error) {
	found, err := stages.FindOrphans(ctx, in)
	var all []orphanStatus
	for _, o := range found {
		one := orphanStatus{
			Host: o.Host, Role: o.Role, Version: o.Version(), Routed: o.Routed, proxied: o.Proxied, Containers: []containerStatus{},
			Deploy: in.Config.Orphans, Command: stopOrphans(in),
		}
		for _, c := range o.Running() {
			one.Containers = append(one.Containers, containerStatus{ID: c.ID, Name: c.Name, State: c.State, Health: c.Health})
		}
		all = append(all, one)
	}
	return all, err
}

// retainedBefore are the versions that can come back in the place of a target,
// served by a role that is not configured any more.
func retainedBefore(in stages.Input, wide []plan.Target, t plan.Target, found map[string]stages.Sight) []string {
	var all []string
	for _, gone := range wide[len(in.Targets):] {
		if heir, _ := plan.Successor(in.All, gone.Host, gone.Proxied); heir.Key() != t.Key() {
			continue
		}
		for _, version := range found[gone.Key()].Retained() {
			if !slices.Contains(all, version) && !slices.Contains(found[t.Key()].Retained(), version) {
				all = append(all, version)
			}
		}
	}
	return all
}

func stopOrphans(in stages.Input) string {
	return stages.Command(in.Config, "app stale-containers --stop")
}

func (o orphanStatus) condition() string {
	return targetStatus{Containers: o.Containers}.condition() + "; not configured"
}

func (o orphanStatus) traffic() string {
	switch {
	case o.Routed:
		return "yes"
	case o.proxied:
		return "no"
	}
	return ""
}

// printOrphans says below the table what becomes of the orphans.
func (p *program) printOrphans(sum statusReport) {
	for _, one := range sum.LeftHosts {
		p.result("host %s is no longer configured, but still has the service: %s", one.Host, one.Command)
	}
	for _, one := range sum.LeftAccessories {
		p.result("%s", one.text)
	}
	if len(sum.Orphans) == 0 {
		return
	}
	next := "the next deploy stops them"
	if sum.Orphans[0].Deploy == "warn" {
		next = "a deploy leaves them (orphans: warn)"
	}
	p.result("roles that are not configured on a host: %s; to stop them now: %s", next, sum.Orphans[0].Command)
}

// runningOrphans are the orphans' containers that run, as rows of `kstep app`.
func runningOrphans(ctx context.Context, s *stages.Session) ([]appContainer, error) {
	in, err := looking(s)
	if err != nil {
		return nil, err
	}
	found, err := stages.FindOrphans(ctx, in)
	var all []appContainer
	for _, o := range found {
		for _, c := range o.Running() {
			all = append(all, appContainer{
				Host: o.Host, Role: o.Role, Name: c.Name, Container: c.ID, Version: c.Labels[engine.LabelVersion],
				Release: c.Labels[engine.LabelRelease], State: c.State, Health: c.Health, Created: c.Created,
			})
		}
	}
	return all, err
}
