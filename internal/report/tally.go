package report

import (
	"errors"
	"slices"
	"sync"
)

// tally collects what the reports at the end of a command need.
type tally struct {
	stages  []stageTally
	ending  *Event // The Failure that ended the command.
	serving string // Which version users get after a failure.
	result  *Result
	notices []string
}

// stageTally is one stage's part of it.
type stageTally struct {
	name     string
	finished Event
	targets  []Event // The last word of each target, in order of appearance.
	changes  []Event // All that was done on hosts or seen there, in that order.
}

func (t *tally) add(e Event) {
	switch e.Kind {
	case StageStarted:
		t.stages = append(t.stages, stageTally{name: e.Stage})
	case StageFinished:
		t.stage(e.Stage).finished = e
	case TargetChanged, TargetFailed, TargetHalted:
		if e.Host != "" {
			t.stage(e.Stage).add(e)
		}
	case Notice:
		t.notices = append(t.notices, e.Message)
	case Serving:
		t.serving = e.Message
	case Failure:
		t.ending = &e
	case Finished:
		t.result = e.Result
	}
}

// plan is what a plan found, if the command made one.
func (t *tally) plan() *Plan {
	if t.result == nil {
		return nil
	}
	return t.result.Plan
}

func (t *tally) stage(name string) *stageTally {
	for i := range slices.Backward(t.stages) {
		if t.stages[i].name == name {
			return &t.stages[i]
		}
	}
	t.stages = append(t.stages, stageTally{name: name})
	return &t.stages[len(t.stages)-1]
}

// add keeps how a target ended even if something is done on it after that.
func (s *stageTally) add(e Event) {
	if e.Kind == TargetChanged {
		s.changes = append(s.changes, e)
	}
	for i, old := range s.targets {
		if old.Host == e.Host && old.Role == e.Role {
			if old.Kind == TargetChanged || e.Kind == TargetFailed {
				s.targets[i] = e
			}
			return
		}
	}
	s.targets = append(s.targets, e)
}

// atEnd is a sink that writes nothing before Close, and then files.
type atEnd struct {
	mu     sync.Mutex
	tally  tally
	redact func(string) string
	write  []func(*tally) error
}

var _ Sink = (*atEnd)(nil)

// Emit remembers the event, cleaned and then redacted before any file format
// escapes it.
func (a *atEnd) Emit(e Event) {
	if a.redact != nil {
		e.Message = a.harmless(e.Message)
		e.Detail = mapped(e.Detail, a.harmless)
		e.Hints = mapped(e.Hints, a.harmless)
		if e.Result != nil {
			r := *e.Result
			r.Image, r.StatePath, r.Version = a.harmless(r.Image), a.harmless(r.StatePath), a.harmless(r.Version)
			r.Plan = r.Plan.mapped(a.harmless)
			e.Result = &r
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tally.add(e)
}

// Close writes the files, all of them even if one fails.
func (a *atEnd) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, write := range a.write {
		errs = append(errs, write(&a.tally))
	}
	return errors.Join(errs...)
}

// harmless removes escape sequences first: one in the middle of a secret would
// hide it from the redaction.
func (a *atEnd) harmless(text string) string { return a.redact(Plain(text)) }

func mapped(texts []string, change func(string) string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = change(text)
	}
	return out
}
