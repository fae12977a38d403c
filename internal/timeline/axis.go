package timeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Axis is the time axis that all bars share. Pauses in which nothing ran are folded
// to a narrow gap: between two jobs of a CI system may be a person who approves.
type Axis struct {
	Ticks []Tick `json:"ticks"`
	Folds []Fold `json:"folds,omitempty"`

	spans []span
}

// Tick is a time on the axis.
type Tick struct {
	Pos   float64 `json:"pos"`
	Label string  `json:"label"` // Since the start, or the time of the day.
}

// Fold is a pause that is not drawn to scale.
type Fold struct {
	Left  float64 `json:"left"`
	Width float64 `json:"width"`
	Took  string  `json:"took"`
}

// span is a part of the axis in which something ran.
type span struct {
	from, to    time.Time
	left, width float64
}

// What counts as a pause: longer than shortestPause seconds, and than this share of
// the time in which something ran.
const (
	shortestPause = 2.0
	pauseShare    = 0.08
	foldWidth     = 3.0  // Percent of the axis, of one pause.
	foldsWidth    = 30.0 // Of all together.
	wantedTicks   = 5
	// Percent of the axis between two labels, and of the last one.
	tickGap  = 14.0
	clockGap = 19.0
	lastTick = 82.0
)

// newAxis makes the axis for intervals, of which there is at least one. None ends
// before it begins.
func newAxis(intervals []span) Axis {
	slices.SortFunc(intervals, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	var busy []span
	for _, one := range intervals {
		if last := len(busy) - 1; last >= 0 && !one.from.After(busy[last].to) {
			if one.to.After(busy[last].to) {
				busy[last].to = one.to
			}
			continue
		}
		busy = append(busy, one)
	}
	work := 0.0
	for _, b := range busy {
		work += between(b.from, b.to)
	}
	var spans []span
	for _, b := range busy {
		if last := len(spans) - 1; last >= 0 && between(spans[last].to, b.from) <= max(shortestPause, pauseShare*work) {
			spans[last].to = b.to
			continue
		}
		spans = append(spans, b)
	}
	return scaled(spans)
}

// scaled gives the spans their places.
func scaled(spans []span) Axis {
	a := Axis{spans: spans}
	total := 0.0
	for _, s := range spans {
		total += between(s.from, s.to)
	}
	pauses := float64(len(spans) - 1)
	fold := 0.0
	if pauses > 0 {
		fold = min(foldWidth, foldsWidth/pauses)
	}
	left := 0.0
	for i := range spans {
		s := &spans[i]
		share := 1 / float64(len(spans))
		if total > 0 {
			share = between(s.from, s.to) / total
		}
		s.left, s.width = left, share*(100-fold*pauses)
		left += s.width
		if i < len(spans)-1 {
			a.Folds = append(a.Folds, Fold{Left: left, Width: fold, Took: took(between(s.to, spans[i+1].from))})
			left += fold
		}
	}
	a.ticks(total)
	return a
}

// ticks labels the axis at round numbers of seconds since the start. Where there
// are pauses, that number says little: there the labels are times of the day.
func (a *Axis) ticks(total float64) {
	step, gap := roundStep(total/wantedTicks), tickGap
	if len(a.Folds) > 0 {
		gap = clockGap
	}
	for _, s := range a.spans {
		length := between(s.from, s.to)
		for i := 0; i <= 2*wantedTicks && float64(i)*step <= length; i++ {
			after := float64(i) * step
			pos := s.left
			if length > 0 {
				pos += s.width * after / length
			}
			if last := len(a.Ticks) - 1; last >= 0 && pos < a.Ticks[last].Pos+gap || pos > lastTick {
				continue
			}
			text := since(after)
			if len(a.Folds) > 0 {
				text = s.from.UTC().Add(time.Duration(min(after, 9e9) * float64(time.Second))).Format("15:04:05")
			}
			a.Ticks = append(a.Ticks, Tick{Pos: pos, Label: text})
		}
	}
}

// since is a round time for people.
func since(seconds float64) string {
	switch s := int64(min(seconds+0.5, 1e15)); {
	case seconds == 0:
		return "0 s"
	case seconds < 1:
		return took(seconds)
	case seconds < 59.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", seconds), ".0") + " s"
	case s < 3600 && s%60 == 0:
		return fmt.Sprintf("%d min", s/60)
	default:
		return took(seconds)
	}
}

// roundStep is the next round number of seconds.
func roundStep(seconds float64) float64 {
	steps := []float64{
		0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
		3600, 2 * 3600, 6 * 3600, 12 * 3600, 86400,
	}
	for _, step := range steps {
		if step >= seconds {
			return step
		}
	}
	return seconds
}

// pos is the place of an instant, in percent. What lies in a pause or outside is at
// the nearest edge.
func (a *Axis) pos(at time.Time) float64 {
	for _, s := range a.spans {
		if at.Before(s.from) {
			return s.left
		}
		if at.After(s.to) {
			continue
		}
		if whole := between(s.from, s.to); whole > 0 {
			return s.left + s.width*between(s.from, at)/whole
		}
		return s.left
	}
	last := a.spans[len(a.spans)-1]
	return last.left + last.width
}

// bar is the place of an interval.
func (a *Axis) bar(from, to time.Time) Bar {
	left := a.pos(from)
	return Bar{Left: left, Width: max(0, a.pos(to)-left)}
}
