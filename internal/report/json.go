package report

import (
	"encoding/json"
	"io"
	"sync"
)

// EventsVersion is the version of the JSON event stream. It rises only when a
// reader of the old one would break.
const EventsVersion = 1

// JSON writes one event a line, after a header line that names the format. It
// is the `--output json` of every command.
type JSON struct {
	out    *lineWriter
	mu     sync.Mutex
	headed bool
}

var _ Sink = (*JSON)(nil)

// NewJSON makes a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{out: &lineWriter{w: w}} }

// header is the first line.
type header struct {
	Type    string `json:"type"`
	Version int    `json:"version"`
}

// Emit writes the event's line.
func (j *JSON) Emit(e Event) {
	e = stamp(e)
	e.Time = e.Time.UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.head()
	j.line(e)
}

// Close writes the header if nothing else was.
func (j *JSON) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.head()
	return j.out.err
}

func (j *JSON) head() {
	if !j.headed {
		j.headed = true
		j.line(header{"kstep-events", EventsVersion})
	}
}

func (j *JSON) line(v any) {
	data, err := json.Marshal(v)
	if err != nil {
		if j.out.err == nil {
			j.out.err = err
		}
		return
	}
	j.out.lines([]string{string(data)})
}
