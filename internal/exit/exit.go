// Package exit is the one table of kstep's exit codes and the error type that
// carries one of them, with hints for a person, from where a failure is known
// to main. It never calls os.Exit itself.
package exit

import (
	"context"
	"errors"
	"fmt"
)

// Code is a process exit status. The numbers are a contract: GitLab's
// retry:exit_codes and allow_failure:exit_codes act on them. 30–39 mean "the
// world was not there; a retry may help".
type Code int

// The codes, in the order of docs/exit-codes.md.
const (
	OK             Code = 0   // Done, or already so.
	ChangesPending Code = 2   // Only plan --detailed-exitcode: something would change.
	Failed         Code = 10  // Failed; this command moved no traffic.
	RolledBack     Code = 11  // Failed after traffic had moved, and it was moved back.
	Partial        Code = 12  // Some targets done, others not, or a failure after the traffic moved.
	BarrierClosed  Code = 13  // The primary role did not become ready.
	LeaseHeld      Code = 20  // Another release holds the lease, or this one was fenced off.
	BadState       Code = 21  // A state or plan file is stale, foreign or broken.
	MissingState   Code = 22  // A state file, or a target in it, is missing.
	Unreachable    Code = 30  // A host, its SSH server or its engine did not answer.
	Registry       Code = 31  // The registry did not answer or refused.
	Deadline       Code = 32  // Something did not happen in time.
	Usage          Code = 64  // Wrong command line.
	Internal       Code = 70  // A bug in kstep.
	Config         Code = 78  // kstep.yml, or a secret it names, is wrong.
	Interrupted    Code = 130 // SIGINT; state is parked, rerun to go on.
	Terminated     Code = 143 // SIGTERM; state is parked, rerun to go on.
)

// Class is the code's name in state files and in JSON output.
func (c Code) Class() string {
	switch c {
	case OK:
		return "ok"
	case ChangesPending:
		return "changes-pending"
	case Failed:
		return "failed"
	case RolledBack:
		return "rolled-back"
	case Partial:
		return "partial"
	case BarrierClosed:
		return "barrier-closed"
	case LeaseHeld:
		return "lease-held"
	case BadState:
		return "bad-state"
	case MissingState:
		return "missing-state"
	case Unreachable:
		return "unreachable"
	case Registry:
		return "registry"
	case Deadline:
		return "deadline"
	case Usage:
		return "usage"
	case Config:
		return "config"
	case Interrupted:
		return "interrupted"
	case Terminated:
		return "terminated"
	default:
		return "internal"
	}
}

// Meaning is a code with the sentence that help texts and docs print for it.
type Meaning struct {
	Code Code
	Text string
}

// Table lists every code once, in ascending order.
func Table() []Meaning {
	return []Meaning{
		{OK, "done, or already so"},
		{ChangesPending, "changes are pending (plan --detailed-exitcode)"},
		{Failed, "failed; this command moved no traffic"},
		{RolledBack, "failed and rolled back"},
		{Partial, "done in part: some targets are done and others not, or a step after the cutover failed"},
		{BarrierClosed, "barrier closed: the primary role did not become ready"},
		{LeaseHeld, "the lease is held by another release, or this one was fenced off"},
		{BadState, "a state or plan file is stale, foreign or broken"},
		{MissingState, "a state file is missing"},
		{Unreachable, "a host is unreachable"},
		{Registry, "the registry did not answer or refused"},
		{Deadline, "a deadline passed"},
		{Usage, "wrong command line"},
		{Internal, "a bug in kstep"},
		{Config, "the configuration is wrong"},
		{Interrupted, "interrupted (SIGINT); state parked, rerun to go on"},
		{Terminated, "terminated (SIGTERM); state parked, rerun to go on"},
	}
}

// OfClass is the code whose class has this name.
func OfClass(class string) Code {
	for _, m := range Table() {
		if m.Code.Class() == class {
			return m.Code
		}
	}
	return Internal
}

// Error is a failure that knows its exit code and what a person can do.
type Error struct {
	Code  Code
	Err   error
	Hints []string // Each is one line, printed under the error.
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// With gives err an exit code and hints. A nil err stays nil.
func With(code Code, err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err, Hints: hints}
}

// Errorf is With over fmt.Errorf, without hints.
func Errorf(code Code, format string, args ...any) error {
	return With(code, fmt.Errorf(format, args...))
}

// Hint adds hint lines to err and keeps its code.
func Hint(err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeOf(err), Err: err, Hints: hints}
}

// CodeOf returns the exit code of err: that of the outermost Error in its
// chain. Of joined errors that disagree, the one that is not worth a retry
// wins, so that a CI never repeats a job that cannot succeed. An error that
// carries none is Deadline if a deadline caused it, else Failed.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // The outermost only; joined ones are walked below.
		return e.Code
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return worst(joined.Unwrap())
	}
	if inner := errors.Unwrap(err); inner != nil {
		return CodeOf(inner)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Deadline
	}
	return Failed
}

func worst(errs []error) Code {
	code := OK
	for _, err := range errs {
		if c := CodeOf(err); code == OK || (transient(code) && !transient(c) && c != OK) {
			code = c
		}
	}
	return code
}

func transient(c Code) bool { return c >= 30 && c <= 39 }

// Hints collects every hint in err's tree, outermost first, each once.
func Hints(err error) []string {
	var hints []string
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if e, ok := err.(*Error); ok { //nolint:errorlint // Walking the tree by hand.
			for _, h := range e.Hints {
				if !seen[h] {
					seen[h] = true
					hints = append(hints, h)
				}
			}
		}
		switch u := err.(type) { //nolint:errorlint // Walking the tree by hand.
		case interface{ Unwrap() error }:
			if inner := u.Unwrap(); inner != nil {
				walk(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range u.Unwrap() {
				walk(inner)
			}
		}
	}
	if err != nil {
		walk(err)
	}
	return hints
}
