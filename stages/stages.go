// Package stages says what a stage is and runs one: everything that surrounds
// every stage (state in, checks, hooks, report, state out) is in Execute, once.
// The stages themselves are in the folders below, and none imports another.
package stages

import (
	"context"
	"fmt"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
)

// Stage is one phase of the pipeline. Its work is: observe, compare, act,
// verify. Running it again changes nothing; killed anywhere and run again, it
// converges.
type Stage interface {
	// Info is what the stage is called and reads. It is constant.
	Info() Info
	// Run does the work on every target of the input. It returns what it got
	// done also when it returns an error. It does not name itself in errors.
	Run(ctx context.Context, in Input) (Result, error)
}

// Info describes a stage to the pipeline, the help and the docs.
type Info struct {
	// Name is the command and the state file's name, such as `env-push`.
	Name string
	// Summary is one line of help, without a full stop.
	Summary string
	// Reads are the stages whose state files it needs, in pipeline order.
	Reads []string
	// Optional are stages whose state files help if they are there and good.
	Optional []string
	// Ends is true if it ends its release: jobs of the release that are still
	// at work lose the lease when it begins, and it is free when it is done.
	Ends bool
	// Hosts is true if it touches hosts, and so needs the lease.
	Hosts bool
	// Enough is true if a partial success lets the next stage go on: the
	// barrier's quorum has decided so.
	Enough bool
	// Moves is true if users see which targets are done: a failure on some is
	// then a partial success of its own (exit 12).
	Moves bool
}

// LastHostless is the last stage that touches no hosts. FirstHostStage is the
// first one that does: the pre-deploy hook runs before it. LastStage ends a deploy: the post-deploy hook runs after it.
const (
	LastHostless   = "push"
	FirstHostStage = "assets"
	LastStage      = "prune"
)

// LatestTag is the tag that follows the newest release of a destination.
func LatestTag(cfg *config.Config) string {
	if cfg.Destination == "" {
		return "latest"
	}
	return "latest-" + cfg.Destination
}

// Input is all a stage may know.
type Input struct {
	Config  *config.Config
	Release string
	Version string
	// By is the person or job that deploys.
	By string
	// Source is where the version came from.
	Source state.Source
	// Targets are the roles and hosts to work on, after filters, in the order
	// of the config; All are those before filters.
	Targets []plan.Target
	All     []plan.Target
	// Upstream are the state files of Info.Reads, shards united.
	Upstream state.Set
	// Own is this stage's earlier file of the same release, if there is one.
	Own *state.File
	// StateDir is the folder of the state files and the archive.
	StateDir string
	// Hosts are the connections.
	Hosts *host.Pool
	// Secrets resolves names to values. Only build, push, env-push and
	// pulls may use it.
	Secrets *secret.Store
	// Report shows what happens.
	Report report.Sink
	// Options are the stage's own flags.
	Options Options

	// Anywhere is true if the work is on the machine itself, wherever the
	// service is kept there.
	Anywhere bool

	// FromFuture is true for an abort of a release that was made in the future.
	FromFuture bool

	images *registry.Puller // Nil makes one for each pull.

	hold   *lease.Hold // The lease that the stage runs in.
	ahead  *aheads
	survey *survey // Of the session; nil looks at nothing.
}

// Options are flags that single stages have.
type Options struct {
	// Image starts the pipeline at push with a ready image.
	Image string
	// Retained is an image that the hosts have, to go back to: push records it
	// and queries no registry.
	Retained *state.PushOutputs
	// NewRelease makes a new release also for a version that has one.
	NewRelease bool
	// Again is NewRelease, unless the one of an earlier run is not over: that run
	// was killed or failed, and this one goes on.
	Again bool
	// HostSecrets has env-push take secrets from the env files that are on the
	// hosts.
	HostSecrets bool
	// Anew has boot make every container anew, also where an equal one runs: push
	// records it.
	Anew bool
	// GoesBack is true if the version was in service before: push records
	// it.
	GoesBack bool
}

// Warn reports something to correct.
func (in Input) Warn(format string, args ...any) {
	in.Report.Emit(report.Event{Kind: report.Warning, Message: fmt.Sprintf(format, args...)})
}

// Result is what a stage got done.
type Result struct {
	// Targets are filled by host stages; their statuses make the stage's.
	Targets []state.Target
	// Changed is for stages without targets.
	Changed bool
	// Outputs is the stage's type from package state.
	Outputs any
	// Moved is set by a stage that moves traffic (Info.Moves): some of what it
	// works for has the traffic now, whether all else succeeded or not.
	Moved bool
	// Over is set by a stage that ends a release (Info.Ends) if it does so
	// although it failed: it was refused, and the lease is freed.
	Over bool
}
