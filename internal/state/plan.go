package state

import (
	"slices"
	"time"
)

// PlanKind is the kind of a plan file.
const PlanKind = "DeployPlan"

// How a planned change is marked: something new, something else than before,
// something that goes.
const (
	MarkAdd    = "+"
	MarkChange = "~"
	MarkRemove = "-"
	// MarkUnknown is for what could not be determined.
	MarkUnknown = "?"
)

// UnknownDigest stands for that of an image which is not built yet. No image
// has it, so whatever is compared with it differs.
const UnknownDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// Anything is an outcome that a plan could not foresee.
const Anything = "*"

// Plan is what each remaining stage of a release would do, and what was
// observed when it was made.
type Plan struct {
	// APIVersion is `kstep/v1`.
	APIVersion string `json:"apiVersion"`
	// Kind is `DeployPlan`.
	Kind string `json:"kind"`
	// Release is the id of the release that the plan is for. Who carries the
	// plan out begins, or goes on with, this release.
	Release string `json:"release"`
	// Begun reports that the release was under way when the plan was made.
	Begun bool `json:"begun,omitempty"`
	// Service and Destination are those of the config.
	Service     string `json:"service"`
	Destination string `json:"destination,omitempty"`
	// Version is what would be deployed.
	Version string `json:"version"`
	// Image is the ready image (`--image`) that the pipeline starts with.
	Image string `json:"image,omitempty"`
	// Digest is that of the image which would be deployed; empty if it is not
	// known, because the image is not built yet.
	Digest string `json:"digest,omitempty"`
	// Tool is the kstep that made the plan.
	Tool Tool `json:"tool"`
	// Actor is who made it.
	Actor Actor `json:"actor"`
	// Source is where the version came from.
	Source Source `json:"source,omitzero"`
	// Config is the digest of the config without secrets.
	Config string `json:"config"`
	// Made is when, in UTC.
	Made time.Time `json:"made"`
	// Changes is how many changes are pending, without those that depend on a
	// build.
	Changes int `json:"changes"`
	// Lease is the lease when the plan was made, if there was one.
	Lease *PlanLease `json:"lease,omitempty"`
	// LeaseUnknown reports that the lease could not be looked at.
	LeaseUnknown bool `json:"leaseUnknown,omitempty"`
	// Stages are the pipeline's, in order.
	Stages []PlannedStage `json:"stages"`
	// Observed is what the hosts were like.
	Observed []Observed `json:"observed"`
	// Seal is an HMAC-SHA256 of this file, without the seal and with an empty sum,
	// under `state.key`, if there is one.
	Seal string `json:"seal,omitempty" jsonschema:"pattern=^hmac-sha256:[0-9a-f]{64}$"`
	// Sum is the digest of this file with an empty sum.
	Sum string `json:"sum"`

	read []byte // The file, if the plan was read from one.
}

// PlanLease is a lease that a release or a user holds.
type PlanLease struct {
	// Holder is who holds it.
	Holder string `json:"holder"`
	// Own reports that it is the planned release itself.
	Own bool `json:"own,omitempty"`
	// Renewed is the lease host's time of the last sign of life.
	Renewed time.Time `json:"renewed"`
}

// PlannedStage is what one stage would do.
type PlannedStage struct {
	Stage string `json:"stage"`
	// Targets are those where it has something to do, or to say.
	Targets []PlannedTarget `json:"targets"`
}

// PlannedTarget is what a stage would do at one target. Without a role it
// concerns the whole host, without a host the stage as a whole.
type PlannedTarget struct {
	Host string `json:"host,omitempty"`
	Role string `json:"role,omitempty"`
	// Changes are in the order in which they would be made.
	Changes []PlannedChange `json:"changes,omitempty"`
	// Notes are what could not be determined, and why.
	Notes []string `json:"notes,omitempty"`
	// Error is why the stage would fail here, or why nothing can be determined.
	Error *Error `json:"error,omitempty"`
}

// Certain is how many of the changes do not depend on the build.
func (t PlannedTarget) Certain() int {
	n := 0
	for _, c := range t.Changes {
		if c.Mark != MarkUnknown {
			n++
		}
	}
	return n
}

// PlannedChange is one change.
type PlannedChange struct {
	// Mark is `+`, `~` or `-`, or `?` if it depends on the build.
	Mark string `json:"mark"`
	// Do is the change as an order, such as `create shop-web-v2`.
	Do string `json:"do"`
	// Done is what the stage says once it is done, such as `created shop-web-v2`.
	Done string `json:"done"`
	// Detail is more about it; names of variables, never values.
	Detail []string `json:"detail,omitempty"`
}

// Observed is what a plan saw of one target.
type Observed struct {
	Host string `json:"host"`
	Role string `json:"role"`
	// Facts are what was seen, without what the planned release itself made.
	Facts map[string]Fact `json:"facts"`
}

// Fact is one thing that was observed, and what it becomes while the plan is
// carried out.
type Fact struct {
	// Seen is what it was; empty if it was not there.
	Seen string `json:"seen,omitempty"`
	// Becomes are what the plan's own changes make of it, one after the other.
	Becomes []Turn `json:"becomes,omitempty"`
}

// Turn is what a fact becomes.
type Turn struct {
	// Step orders the turns of one target: an earlier one comes first.
	Step int `json:"step"`
	// Value is the fact from then on; `*` stands for what could not be foreseen.
	Value string `json:"value"`
}

// Turn finds the turn that made the fact so: step 0 is how it was seen. ok is
// false if the plan does not lead there.
func (f Fact) Turn(value string) (step int, ok bool) {
	if value == f.Seen {
		return 0, true
	}
	for _, t := range f.Becomes {
		if t.Value == value || t.Value == Anything {
			return t.Step, true
		}
	}
	return 0, false
}

// Next is the step of the first turn after this one, or 0 if it was the last.
func (f Fact) Next(step int) int {
	for _, t := range f.Becomes {
		if t.Step > step && t.Value != f.Seen {
			return t.Step
		}
	}
	return 0
}

// Only is the plan of one stage, after all others have run.
func (p Plan) Only(stage string) Plan {
	p.Stages = slices.DeleteFunc(slices.Clone(p.Stages), func(s PlannedStage) bool { return s.Stage != stage })
	p.Changes = 0
	for _, s := range p.Stages {
		for _, t := range s.Targets {
			p.Changes += t.Certain()
		}
	}
	return p
}
