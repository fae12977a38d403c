package hosttest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	Scope    string `json:"scope"`
	Time     int64  `json:"time"`
	TimeNano int64  `json:"timeNano"`
}

// eventsKept is how many events the engine remembers for `since`. Docker keeps
// 256; here a second of health checks makes as many as a minute does there.
const eventsKept = 2_000

// emit appends an event; the engine is locked.
func (e *Engine) emit(c *container, action string, more map[string]string) {
	now := time.Now()
	one := event{Type: "container", Action: action, Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano()}
	one.Actor.ID = c.ID
	one.Actor.Attributes = map[string]string{"name": c.Name, "image": c.Config.Image}
	for _, m := range []map[string]string{c.Config.Labels, more} {
		maps.Copy(one.Actor.Attributes, m)
	}
	if len(e.events) >= 2*eventsKept {
		e.forgotten += eventsKept
		e.events = slices.Clone(e.events[eventsKept:])
	}
	e.events = append(e.events, one)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) serveEvents(w http.ResponseWriter, r *http.Request) {
	filters := filtersOf(r)
	e.mu.Lock()
	next := e.forgotten + len(e.events)
	if from := sinceOf(r).UnixNano(); r.URL.Query().Get("since") != "" {
		if at := slices.IndexFunc(e.events, func(one event) bool { return one.TimeNano >= from }); at >= 0 {
			next = e.forgotten + at
		}
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	flush(w)
	encoder := json.NewEncoder(w)
	for {
		e.mu.Lock()
		fresh, changed, down := slices.Clone(e.events[min(max(0, next-e.forgotten), len(e.events)):]), e.changed, e.down
		next = e.forgotten + len(e.events)
		e.mu.Unlock()
		for _, one := range fresh {
			if matchesEvent(one, filters) && encoder.Encode(one) != nil {
				return
			}
		}
		flush(w)
		if down {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// sinceOf is the requested instant, or the beginning of time.
func sinceOf(r *http.Request) time.Time {
	seconds, nanos, _ := strings.Cut(r.URL.Query().Get("since"), ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	n, _ := strconv.ParseInt(nanos, 10, 64)
	return time.Unix(s, n)
}

func matchesEvent(one event, filters map[string][]string) bool {
	if want := filters["container"]; len(want) > 0 && !slices.ContainsFunc(want, func(id string) bool {
		return strings.HasPrefix(one.Actor.ID, id) || one.Actor.Attributes["name"] == id
	}) {
		return false
	}
	return matchesLabels(one.Actor.Attributes, filters["label"])
}
