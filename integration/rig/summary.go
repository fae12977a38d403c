package rig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	kindKept  = "kept"
	kindFresh = "fresh"
	kindSlow  = "slow"

	// maxFailures is how many failures a summary describes; it counts all.
	maxFailures = 10
)

// Summary counts what became of a load's requests.
type Summary struct {
	// Total and Failed count requests that have ended; failed is all but a 200.
	Total, Failed int
	// Failures are the first of the failed.
	Failures []Failure
	// Slowest is the longest time of a request, without that set for the app.
	Slowest time.Duration
	// Versions has for each version of the app when it answered, and how often.
	Versions map[string]Seen
	// Kinds and Targets count requests by kind of client and by target.
	Kinds, Targets map[string]int
	// Started is when the load began, Ended when its last request ended.
	Started, Ended time.Time
}

// Failure is one failed request.
type Failure struct {
	At     time.Time // when it was sent
	Took   time.Duration
	Kind   string
	URL    string
	Reason string
}

// Seen is when a version answered: First and Last are when requests that it
// answered came back.
type Seen struct {
	Count       int
	First, Last time.Time
}

type request struct {
	kind, url, target string
	from              time.Time
	took              time.Duration
	body              string
	err               error
}

// String is the summary in a few lines, for a person who reads a failed test.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d failed, slowest %s, in %s", s.Total, s.Failed,
		s.Slowest.Round(time.Millisecond), s.Ended.Sub(s.Started).Round(time.Millisecond))
	for _, version := range slices.Sorted(maps.Keys(s.Versions)) {
		seen := s.Versions[version]
		fmt.Fprintf(&b, "\n  version %s: %d answers, %s to %s", version, seen.Count,
			seen.First.Format(clock), seen.Last.Format(clock))
	}
	for _, f := range s.Failures {
		fmt.Fprintf(&b, "\n  failed %s after %s: %s %s: %s", f.At.Format(clock),
			f.Took.Round(time.Millisecond), f.Kind, f.URL, f.Reason)
	}
	return b.String()
}

const clock = "15:04:05.000"

func (s *Summary) start() {
	s.Started = time.Now()
	s.Ended = s.Started
	s.Versions, s.Kinds, s.Targets = map[string]Seen{}, map[string]int{}, map[string]int{}
}

func (s *Summary) add(r request) {
	now := r.from.Add(r.took)
	s.Total++
	s.Kinds[r.kind]++
	s.Targets[r.target]++
	if now.After(s.Ended) {
		s.Ended = now
	}
	if r.err != nil {
		s.Failed++
		if len(s.Failures) < maxFailures {
			s.Failures = append(s.Failures, Failure{At: r.from, Took: r.took, Kind: r.kind, URL: r.url, Reason: r.err.Error()})
		}
		return
	}
	s.Slowest = max(s.Slowest, r.took-r.wanted())
	if version, ok := versionOf(r.body); ok {
		seen := s.Versions[version]
		if seen.Count == 0 {
			seen.First = now
		}
		seen.Count++
		seen.Last = now
		s.Versions[version] = seen
	}
}

func (s *Summary) copy() Summary {
	c := *s
	c.Failures = slices.Clone(s.Failures)
	c.Versions, c.Kinds, c.Targets = maps.Clone(s.Versions), maps.Clone(s.Kinds), maps.Clone(s.Targets)
	return c
}

// wanted is the time that the request itself set for the app.
func (r request) wanted() time.Duration {
	_, ms, _ := strings.Cut(r.url, "/slow?ms=")
	d, err := time.ParseDuration(ms + "ms")
	if err != nil {
		return 0
	}
	return d
}

// versionOf reads the app's page.
func versionOf(body string) (string, bool) {
	fields := strings.Fields(body)
	if len(fields) < 2 || fields[0] != "version" {
		return "", false
	}
	return fields[1], true
}
