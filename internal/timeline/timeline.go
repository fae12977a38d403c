// Package timeline turns the state files of one release into a timeline: what ran
// when and where, what serves now, and what to do next. Of is a pure function that
// makes all decisions; Text, Markdown and HTML print its result. It reads no file
// and contacts no host.
//
// State files are untrusted text. Of removes escape sequences and control characters
// from all texts and limits their length; each printer escapes them for its format.
package timeline

import (
	"time"

	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
)

// Timeline is one release, as its state files describe it. All texts are clean
// single lines.
type Timeline struct {
	Service     string `json:"service"`
	Destination string `json:"destination,omitempty"`
	Release     string `json:"release"`
	Version     string `json:"version"`
	// Commit is the full commit, Subject the first line of its message.
	Commit  string `json:"commit,omitempty"`
	Subject string `json:"subject,omitempty"`
	Dirty   bool   `json:"dirty,omitempty"`
	// Before are the versions that served before, the distinct ones of all targets.
	Before []string `json:"before,omitempty"`
	// First is true if the files show that nothing served before.
	First bool `json:"first,omitempty"`
	// GoesBack is true for a rollback.
	GoesBack bool `json:"goesBack,omitempty"`

	// Outcome is how the release stands, Sentence the same for people.
	Outcome  Outcome `json:"outcome"`
	Sentence string  `json:"sentence"`
	// Commands are what to run next.
	Commands []Command `json:"commands,omitempty"`
	Failures []Failure `json:"failures,omitempty"`

	// Actors ran the stages, Tools are the versions of kstep that did.
	Actors []Actor  `json:"actors"`
	Tools  []string `json:"tools"`

	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Took is Finished minus Started for people; Worked leaves pauses out.
	Took   string `json:"took"`
	Worked string `json:"worked,omitempty"`

	// Traffic is nil if no cutover is recorded.
	Traffic *Traffic `json:"traffic,omitempty"`
	Stages  []Stage  `json:"stages"`
	Axis    Axis     `json:"axis"`
	// Notes are what a reader has to know about the files themselves.
	Notes []string `json:"notes,omitempty"`
}

// ShortVersion is the version as people see it: seven digits of a commit.
func (t Timeline) ShortVersion() string { return short.Of(t.Version) }

// Title is what is deployed to where.
func (t Timeline) Title() string {
	text := t.Service + " " + t.ShortVersion()
	if t.Destination != "" {
		text += " to " + t.Destination
	}
	return text
}

// Outcome is how a release stands.
type Outcome string

// The outcomes.
const (
	Serves      Outcome = "serves"      // On all targets.
	InPart      Outcome = "in-part"     // On some targets.
	UnderWay    Outcome = "under-way"   // All that ran is done, and a stage is left.
	Failed      Outcome = "failed"      // It does not serve, because a stage failed.
	Interrupted Outcome = "interrupted" // A stage was interrupted.
	Aborted     Outcome = "aborted"     // It was aborted.
	Unknown     Outcome = "unknown"     // The files do not say.
)

// Command is what a person can run next, and what for.
type Command struct {
	Purpose string `json:"purpose"`
	Line    string `json:"line"`
}

// Failure is what failed, where and why.
type Failure struct {
	Stage   string   `json:"stage"`
	Where   string   `json:"where,omitempty"` // Empty for the stage as a whole.
	Class   string   `json:"class,omitempty"`
	Message string   `json:"message"`
	Detail  []string `json:"detail,omitempty"` // State of the container, last log lines.
}

// Title is what failed where, such as `boot failed on vm1 web`.
func (f Failure) Title() string {
	text := f.Stage + " failed"
	if interrupted(f.Class) {
		text = f.Stage + " was interrupted"
	}
	if f.Where != "" {
		text += " on " + f.Where
	}
	return text
}

// Actor is a person or CI job, and the stages that it ran.
type Actor struct {
	User string `json:"user,omitempty"`
	CI   string `json:"ci,omitempty"` // For people, such as `GitHub Actions`.
	// URL is an http or https address, or empty.
	URL    string   `json:"url,omitempty"`
	Stages []string `json:"stages"`
}

// Traffic sums up the cutover of all targets.
type Traffic struct {
	// Probed is true if kstep sent requests of its own.
	Probed    bool   `json:"probed"`
	Requests  int    `json:"requests"`
	Failed    int    `json:"failed"`
	SlowestMs int64  `json:"slowestMs"`
	FirstFail string `json:"firstFail,omitempty"`
	// Cut are connections that were open when the old containers were stopped.
	// Unobserved are the targets where they could not be counted.
	Drained    bool `json:"drained"`
	Cut        int  `json:"cut"`
	Unobserved int  `json:"unobserved,omitempty"`
}

// Stage is a stage on the timeline.
type Stage struct {
	Name    string       `json:"name"`
	Status  state.Status `json:"status"`
	Reason  string       `json:"reason,omitempty"`
	URL     string       `json:"url,omitempty"` // Of its own CI job.
	Started time.Time    `json:"started"`
	Bar     Bar          `json:"bar"`
	Took    string       `json:"took"`
	Facts   []string     `json:"facts,omitempty"`
	Targets []Target     `json:"targets,omitempty"`
}

// Target is the work of a stage on one host, or one role of it.
type Target struct {
	Host   string       `json:"host"`
	Role   string       `json:"role,omitempty"`
	Status state.Status `json:"status"`
	// Halted is true if it only waited for others, which failed.
	Halted bool     `json:"halted,omitempty"`
	Bar    Bar      `json:"bar"`
	Took   string   `json:"took"`
	Marks  []Mark   `json:"marks,omitempty"`
	Facts  []string `json:"facts,omitempty"`
	Acts   []string `json:"acts,omitempty"` // What was done.
	Error  string   `json:"error,omitempty"`
}

// Name is the host with the role.
func (t Target) Name() string {
	if t.Role == "" {
		return t.Host
	}
	return t.Host + " " + t.Role
}

// Word is the status of the target for people.
func (t Target) Word() string {
	if t.Halted {
		return "waited"
	}
	return string(t.Status)
}

// Bar is a span of the axis, in percent of its width.
type Bar struct {
	Left  float64 `json:"left"`
	Width float64 `json:"width"`
}

// MarkKind is what a mark is for.
type MarkKind string

// The kinds of marks.
const (
	Switched MarkKind = "switched" // The proxy confirmed the new containers.
	Ready    MarkKind = "ready"    // The last new container was ready.
)

// Mark is an instant on a target's bar.
type Mark struct {
	Kind MarkKind  `json:"kind"`
	At   time.Time `json:"at"`
	Pos  float64   `json:"pos"` // In percent of the axis.
}
