// Package state is how stages know each other: one JSON file each, with an
// envelope, a chain of digests and typed outputs. It reads, checks and writes
// those files; it never looks at a host.
package state

import (
	"encoding/json"
	"time"
)

// APIVersion is the format that this kstep writes. A file of a newer major
// version is refused; unknown fields within this one are ignored.
const APIVersion = "kstep/v1"

// Kind is the envelope's kind.
const Kind = "StageState"

// Status is how a stage, or its work on one target, ended.
type Status string

// The statuses of a stage. A target has the same, without Partial.
const (
	OK          Status = "ok"          // Done; something changed.
	Unchanged   Status = "unchanged"   // Already so; nothing was touched.
	Partial     Status = "partial"     // Some targets done, others failed.
	Failed      Status = "failed"      // Failed.
	Interrupted Status = "interrupted" // Stopped by a signal; rerun to go on.
)

// Done reports whether a stage with this status may be built upon.
func (s Status) Done() bool { return s == OK || s == Unchanged }

// File is a state file: the envelope around one stage's outputs.
type File struct {
	// APIVersion is `kstep/v1`.
	APIVersion string `json:"apiVersion"`
	// Kind is `StageState`.
	Kind string `json:"kind"`
	// Release is the sortable unique id (a ULID) of this pipeline run, made by
	// its first stage.
	Release string `json:"release"`
	// Service and Destination are those of the config.
	Service     string `json:"service"`
	Destination string `json:"destination,omitempty"`
	// Version is what is deployed, such as a commit.
	Version string `json:"version"`
	// Stage wrote this file.
	Stage string `json:"stage"`
	// Shard names the filtered part of the targets, or is empty for all.
	Shard string `json:"shard,omitempty"`
	// Status is how the stage ended; Reason says why in one line.
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
	// ExitCode is what the process exited with.
	ExitCode int `json:"exitCode"`
	// Tool is the kstep that wrote this file.
	Tool Tool `json:"tool"`
	// Actor is who ran it.
	Actor Actor `json:"actor"`
	// Source is where the version came from.
	Source Source `json:"source,omitzero"`
	// Config is the digest of the secret-free part of the config that this
	// stage read.
	Config string `json:"config"`
	// Inputs are the state files this stage read, with their digests: a chain.
	Inputs []Input `json:"inputs,omitempty"`
	// Started and Finished are in UTC.
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Targets are what this stage did on each host, sorted by host and role.
	Targets []Target `json:"targets,omitempty"`
	// Outputs are the stage's typed results (BuildOutputs and so on).
	Outputs json.RawMessage `json:"outputs,omitempty"`
	// Supersedes are the digests of earlier runs of this stage in the same
	// release whose outputs meant the same, so that running a stage again does
	// not break the chain behind it. Write fills it.
	Supersedes []string `json:"supersedes,omitempty"`
	// Seal is an HMAC-SHA256 of this file, without the seal and with an empty sum,
	// under `state.key`, if there is one. Write fills it.
	Seal string `json:"seal,omitempty" jsonschema:"pattern=^hmac-sha256:[0-9a-f]{64}$"`
	// Sum is the digest of this file with an empty sum: it shows whether the
	// file was edited or damaged. Write fills it.
	Sum string `json:"sum"`
}

// Tool is the program that wrote a file.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
}

// Actor is the person or CI job that ran a stage.
type Actor struct {
	// CI is `github`, `gitlab` or empty.
	CI     string `json:"ci,omitempty"`
	RunURL string `json:"runUrl,omitempty"`
	// Run is the same for all jobs and attempts of one CI run.
	Run     string `json:"run,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	User    string `json:"user,omitempty"`
}

// Source is where a version came from.
type Source struct {
	// Commit is the full git commit, or empty outside git.
	Commit string `json:"commit,omitempty"`
	// Dirty reports that uncommitted changes were built.
	Dirty bool `json:"dirty,omitempty"`
	// Subject is the first line of the commit's message, without secrets. Older
	// versions of kstep did not record it.
	Subject string `json:"subject,omitempty"`
}

// Input is a state file that was read, by name and content.
type Input struct {
	Stage  string `json:"stage"`
	Shard  string `json:"shard,omitempty"`
	Digest string `json:"digest"` // sha256:… of the file's bytes.
}

// Target is a stage's work on one role of one host. Stages that work on a
// whole host leave Role empty.
type Target struct {
	Host    string   `json:"host"`
	Role    string   `json:"role,omitempty"`
	Status  Status   `json:"status"`
	Changed []string `json:"changed,omitempty"` // What was done, a short phrase each.
	Error   *Error   `json:"error,omitempty"`
	// Containers are the full ids of the role's containers in question.
	Containers []string  `json:"containers,omitempty"`
	Started    time.Time `json:"started"`
	Finished   time.Time `json:"finished"`
}

// Error is a target's failure, free of secrets.
type Error struct {
	// Class is the name of the exit code it would cause alone, such as
	// `unreachable`.
	Class   string `json:"class"`
	Message string `json:"message"`
	// Detail is the state of the failed container, with its exit status, and its
	// last log lines, as far as they were read. Older versions of kstep did not
	// record it.
	Detail []string `json:"detail,omitempty"`
}
