package stages

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/hook"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
)

// Session is what one kstep process has for all the stages it runs.
type Session struct {
	Config *config.Config
	// Roles and HostGlobs are the filters; both empty means everything.
	Roles, HostGlobs []string
	Dir              *state.Dir
	Hosts            *host.Pool
	Secrets          *secret.Store
	Report           report.Sink
	Hooks            *hook.Runner
	Tool             state.Tool
	Actor            state.Actor
	// By is the person or job in ledgers and hooks.
	By string
	// Command is what the user called, for hooks; Subcommand is its second word.
	Command, Subcommand string
	// Pipeline are all stages, in order.
	Pipeline []Stage
	// StateFrom is where state comes from that the folder does not have:
	// FromHosts, or nowhere.
	StateFrom string
	// Named is the release to go on with, if the user named one.
	Named string
	// Commit is the commit of the checkout, empty outside git.
	Commit func(context.Context) string
	// Resume builds upon stages that failed or were interrupted.
	Resume  bool
	Options Options
	// Guard stands around all that the session does on hosts, and lets nothing
	// be changed there without the lease.
	Guard *lease.Guard
	// Wait is how long to queue for the lease; 0 means what the config says.
	Wait time.Duration
	// Release, Version and Source are set by the first stage, or read from the
	// state by the first that needs them.
	Release string
	Version string
	Source  state.Source
	// Resolve returns the version when no state has it.
	Resolve func(context.Context) (version string, source state.Source, err error)
	// KeepLease holds the lease from the first stage that needs it to the end
	// of the process, which frees it.
	KeepLease bool
	// PlanDigest is the sum of a plan file that was written.
	PlanDigest string
	// Planned is what a plan found, and PlannedHosts are the hosts that it would change.
	Planned      *report.Plan
	PlannedHosts []string
	// Done are the files of the stages that ran, in order.
	Done []*state.File

	asked       bool         // The lease's host was queried for
	hostsNewest string       // the newest release in its ledger, and
	underway    lease.Holder // who has the lease; empty if it is free.
	unused      time.Time    // When the lease was seen to be free; zero if it was not.
	taken       bool         // The state of that release was looked for on the hosts.

	lease      *lease.Hold // Once a stage that touches hosts has run.
	planned    *state.Plan // To be compared with the hosts.
	pinned     *state.Plan // The same, also once it was compared.
	imagesOnce sync.Once
	images     *registry.Puller
	moved      bool                // The release has traffic.
	chosenFrom map[string]lastLive // By target key; what the version was chosen from.
	connected  bool                // The pre-connect hook has run.
	fetched    bool                // The state has been fetched from the hosts.
	survey     survey              // Of the machines behind the hosts' names.
	behind     behind              // What is left on the hosts beside the stages.
	early      sync.WaitGroup      // Looks that were begun early.
	surveyed   atomic.Bool         // An earlier stage of the release has made the survey. What a stage leaves behind reads it during the next one.
}

// Input is what work outside of a release may know: some targets, and those of
// them that the filters leave. It has no release and no state.
func (s *Session) Input(all, targets []plan.Target) Input {
	return Input{
		Config: s.Config, By: s.By, All: all, Targets: targets,
		Hosts: s.Hosts, Secrets: s.Secrets, Report: s.Report, Options: s.Options,
		images: s.puller(), survey: s.looks(),
	}
}

// Connected reports that the session has been to its hosts.
func (s *Session) Connected() bool { return s.connected }

// on is a host, and the names of the service's things there.
func (s *Session) on(ctx context.Context, name string) (host.Host, plan.Names, error) {
	h, err := s.Hosts.Get(ctx, name)
	if err != nil {
		return nil, plan.Names{}, err
	}
	at, err := s.base().arrive(ctx, h)
	return h, at.Names, err
}
