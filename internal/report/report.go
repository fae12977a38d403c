// Package report shows people and CI systems what happens. Stages emit events
// into a Sink; text, GitHub, GitLab and JSON are implementations of it, and no
// stage knows which one listens. stdout is for results, stderr for people.
package report

import "time"

// Kind is what an event is about.
type Kind string

// The kinds of events. Together they are the `--output json` stream, which
// docs/output.md documents as a contract.
const (
	StageStarted  Kind = "stage-started"
	StageFinished Kind = "stage-finished" // Status, Duration, Message.
	HookStarted   Kind = "hook-started"   // Message: the hook's name.
	HookFinished  Kind = "hook-finished"  // Message: the hook's name; Status (ok, failed), Duration.
	TargetChanged Kind = "target"         // Something was done or observed on Host (and Role): Message.
	TargetFailed  Kind = "target-failed"  // Host (and Role) failed: Message, Detail (log lines).
	TargetHalted  Kind = "target-halted"  // Host and Role stopped waiting for others, and are not to blame: Message.
	Progress      Kind = "progress"       // A long act goes on: Message, Done and Total.
	Output        Kind = "output"         // A line another program printed: Message (hook, builder).
	Notice        Kind = "notice"         // For people: a hint, a take-over, a summary line.
	Warning       Kind = "warning"        // Something the user should correct; File and Line if in a file.
	Serving       Kind = "serving"        // Before Failure: which version users get now, on which hosts: Message.
	Failure       Kind = "failure"        // The error that ends the command: Message, Detail, Hints, File, Line, Column.
	Finished      Kind = "finished"       // The last event of a command: Result.
)

// Event is one thing that happened. It never holds a secret: the writers
// redact every line again.
type Event struct {
	Time     time.Time     `json:"time"`
	Kind     Kind          `json:"kind"`
	Stage    string        `json:"stage,omitempty"`
	Host     string        `json:"host,omitempty"`
	Role     string        `json:"role,omitempty"`
	Message  string        `json:"message,omitempty"`
	Detail   []string      `json:"detail,omitempty"`
	Hints    []string      `json:"hints,omitempty"`
	Status   string        `json:"status,omitempty"`
	Duration time.Duration `json:"durationNs,omitempty"`
	// Done and Total are bytes.
	Done   int64   `json:"done,omitempty"`
	Total  int64   `json:"total,omitempty"`
	File   string  `json:"file,omitempty"`
	Line   int     `json:"line,omitempty"`
	Column int     `json:"column,omitempty"`
	Result *Result `json:"result,omitempty"`
}

// Result is how a command ended, for the outputs of a CI job. It holds ids and
// digests, no secrets.
type Result struct {
	// Status is `ok`, `unchanged`, `partial`, `failed` or `interrupted`; of a plan
	// `pending`, `unchanged`, `failed` or `interrupted`.
	Status      string `json:"status"`
	ExitCode    int    `json:"exitCode"`
	Service     string `json:"service,omitempty"`
	Destination string `json:"destination,omitempty"`
	Release     string `json:"release,omitempty"`
	Version     string `json:"version,omitempty"`
	// Image is the image with its digest.
	Image string `json:"image,omitempty"`
	// StatePath is the state file that was written, or the state folder.
	StatePath string `json:"statePath,omitempty"`
	// PlanDigest is the sum of the plan file that was written.
	PlanDigest string `json:"planDigest,omitempty"`
	// Plan is what a plan found; nil if the command made none.
	Plan *Plan `json:"plan,omitempty"`
	// Hosts are the hosts that were worked on; of a plan, those with pending changes.
	Hosts []string `json:"hosts,omitempty"`
	// Changed is set if anything was changed anywhere.
	Changed bool `json:"changed"`
}

// Sink takes events. Emit may be called from several goroutines at once and
// does not block on anything but its writer.
type Sink interface {
	Emit(Event)
	// Close writes what is only known at the end (summaries, reports).
	Close() error
}

// Discard is a Sink for tests and for quiet callers.
type Discard struct{}

var _ Sink = Discard{}

// Emit drops the event.
func (Discard) Emit(Event) {}

// Close does nothing.
func (Discard) Close() error { return nil }
