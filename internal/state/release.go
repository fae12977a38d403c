package state

import (
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"
)

// NewRelease makes the id of a release: a ULID, so that a later release sorts
// after an earlier one. It sorts after every id in after too, whatever the
// clock of this machine says.
func NewRelease(now time.Time, after ...string) string {
	ms := ulid.Timestamp(now)
	for _, id := range after {
		if old, err := ulid.ParseStrict(id); err == nil && old.Time() >= ms {
			ms = old.Time() + 1
		}
	}
	return ulid.MustNew(ms, rand.Reader).String()
}

// ReleaseTime is when a release was made, by the clock of the machine that made
// it; the zero time if id is not a release.
func ReleaseTime(id string) time.Time {
	parsed, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(parsed.Time()).UTC()
}

func validRelease(id string) bool {
	_, err := ulid.ParseStrict(id)
	return err == nil
}
