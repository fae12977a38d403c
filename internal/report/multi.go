package report

import "errors"

// Multi is several sinks as one.
type Multi []Sink

var _ Sink = Multi(nil)

// Emit gives the event to each sink in turn.
func (m Multi) Emit(e Event) {
	e = stamp(e)
	for _, s := range m {
		s.Emit(e)
	}
}

// Close closes all sinks and joins their errors.
func (m Multi) Close() error {
	var errs []error
	for _, s := range m {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
