package report

import "sync"

// staged writes the stage that is at work into its events, so that each of them
// names it wherever it is shown.
type staged struct {
	Sink
	mu    sync.Mutex
	stage string
}

// Emit fills in the stage of an event between a stage's beginning and its end.
func (s *staged) Emit(e Event) {
	s.mu.Lock()
	switch {
	case e.Kind == StageStarted:
		s.stage = e.Stage
	case e.Kind == StageFinished:
		s.stage = ""
	case e.Stage == "":
		e.Stage = s.stage
	}
	s.mu.Unlock()
	s.Sink.Emit(e)
}
