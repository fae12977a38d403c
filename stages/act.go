package stages

import (
	"fmt"

	"github.com/kstep/kstep/internal/state"
)

// Verb is the kind of a change.
type Verb string

// The verbs of all stages.
const (
	Bridge  Verb = "bridge"
	Build   Verb = "build"
	Connect Verb = "connect"
	Create  Verb = "create"
	Extract Verb = "extract"
	Make    Verb = "make"
	Move    Verb = "move"
	Open    Verb = "open"
	Pin     Verb = "pin"
	Pull    Verb = "pull"
	Push    Verb = "push"
	Remove  Verb = "remove"
	Rename  Verb = "rename"
	Send    Verb = "send"
	Run     Verb = "run"
	Start   Verb = "start"
	Set     Verb = "set"
	Stop    Verb = "stop"
	Tag     Verb = "tag"
	Write   Verb = "write"
)

// Act is a change that a stage has decided upon: plan shows it beforehand, and
// the stage once it is done, in the same words.
type Act struct {
	Verb Verb
	What string
	// Detail is more about it, a line each that begins with a mark: the names of
	// the variables that an env file gains or loses.
	Detail []string
	// Unsure is true in a plan if it depends on a build which is still to come.
	Unsure bool
}

// To makes an Act.
func To(verb Verb, format string, args ...any) Act {
	return Act{Verb: verb, What: fmt.Sprintf(format, args...)}
}

// String is the act as an order: `create shop-web-v2`.
func (a Act) String() string {
	order := string(a.Verb) + " " + a.What
	if a.Unsure {
		order += " (depends on the build)"
	}
	return order
}

// Done is the act once it is done: `created shop-web-v2`.
func (a Act) Done() string {
	past := string(a.Verb)
	switch a.Verb {
	case Set:
	case Make:
		past = "made"
	case Run:
		past = "ran"
	case Send:
		past = "sent"
	case Write:
		past = "wrote"
	case Build:
		past = "built"
	case Tag, Stop, Pin:
		past += past[len(past)-1:] + "ed"
	case Create, Remove, Rename, Bridge, Move:
		past += "d"
	case Connect, Extract, Open, Pull, Push, Start:
		past += "ed"
	}
	return past + " " + a.What
}

// mark is how a person sees at once what kind of change it is.
func (a Act) mark() string {
	if a.Unsure {
		return state.MarkUnknown
	}
	switch a.Verb {
	case Remove, Stop:
		return state.MarkRemove
	case Move, Open, Rename, Set, Write:
		return state.MarkChange
	case Bridge, Build, Connect, Create, Extract, Make, Pin, Pull, Push, Run, Send, Start, Tag:
	}
	return state.MarkAdd
}

// Made notes and reports an act that is done.
func (w *Work) Made(a Act) { w.Did("%s", a.Done()) }
