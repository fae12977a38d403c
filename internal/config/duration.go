package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Duration is a time span in Go's notation: `300ms`, `5s`, `2m`. A bare
// number is seconds.
type Duration time.Duration

// DurationPattern is the notation of a Duration that is text. Units come in
// order and at most once, and six digits each, so that no sum overflows.
const DurationPattern = `^([0-9]{1,6}|([0-9]{1,6}(\.[0-9]{1,9})?h)?([0-9]{1,6}(\.[0-9]{1,9})?m)?` +
	`([0-9]{1,6}(\.[0-9]{1,9})?s)?([0-9]{1,6}(\.[0-9]{1,9})?ms)?([0-9]{1,6}(\.[0-9]{1,9})?[uµ]s)?([0-9]{1,6}ns)?)$`

// D is the span as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String is the span as a person writes it: `2m`, not `2m0s`.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the span as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads text, or a number of seconds.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var seconds json.Number
	if err := json.Unmarshal(data, &seconds); err == nil && seconds != "" {
		f, err := seconds.Float64()
		*d = Duration(math.Round(f * float64(time.Second)))
		return err
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("read time span: %w", err)
	}
	span, err := time.ParseDuration(s)
	*d = Duration(span)
	return err
}
