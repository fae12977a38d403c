package hosttest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Engine is a Docker engine that keeps everything in memory.
type Engine struct {
	fake   *Fake
	server *http.Server
	wire   *pipeListener
	wait   sync.WaitGroup

	mu         sync.Mutex
	down       bool
	api        string
	containers []*container // Newest first.
	images     []*image
	networks   []*network
	execs      map[string]*execution
	behaviours map[string]Behaviour
	diskFull   bool
	events     []event
	changed    chan struct{} // Closed and replaced at every event.
	ports      map[int]bool  // Host ports that something else has.
	requests   []string
}

type network struct {
	ID, Name string
	Labels   map[string]string
	Created  time.Time
}

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

func newEngine(f *Fake) *Engine {
	e := &Engine{
		fake: f, api: "1.41", wire: newPipeListener(),
		networks:   []*network{{ID: newID(), Name: "bridge", Created: time.Now()}},
		execs:      map[string]*execution{},
		behaviours: map[string]Behaviour{},
		changed:    make(chan struct{}),
		ports:      map[int]bool{},
	}
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve)}
	e.wait.Go(func() { e.server.Serve(e.wire) }) //nolint:errcheck // Until close.
	return e
}

func (e *Engine) close() {
	e.mu.Lock()
	for _, c := range e.containers {
		c.kill()
	}
	e.down = true
	close(e.changed)
	e.changed = make(chan struct{})
	e.mu.Unlock()
	e.server.Close()
	e.wire.Close()
	e.wait.Wait()
}

// SetAPI sets the API version that the engine offers. It is 1.41 at first.
func (e *Engine) SetAPI(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.api = version
}

// SetDown stops or starts the engine; its containers go on. Connections to it
// break.
func (e *Engine) SetDown(down bool) {
	e.mu.Lock()
	e.down = down
	e.mu.Unlock()
	if down {
		e.wire.sever()
	}
	if !e.fake.inside(e.fake.Socket) {
		return
	}
	if down {
		os.Remove(e.fake.Socket)
		return
	}
	must(e.fake.t, os.WriteFile(e.fake.Socket, nil, 0o600))
}

// SetDiskFull makes pulls fail for want of space.
func (e *Engine) SetDiskFull(full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.diskFull = full
}

// TakePort makes a host port belong to something that is not a container.
func (e *Engine) TakePort(port int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports[port] = true
}

// Requests are those that the engine got so far, such as `GET /containers/json`.
func (e *Engine) Requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

func (e *Engine) up() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.down
}

func (e *Engine) dial() (net.Conn, error) { return e.wire.dial() }

var versionPrefix = regexp.MustCompile(`^/v(\d+)\.(\d+)`)

func (e *Engine) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	api := e.api
	e.mu.Unlock()
	w.Header().Set("Api-Version", api)
	w.Header().Set("Ostype", "linux")
	if m := versionPrefix.FindStringSubmatch(r.URL.Path); m != nil {
		if asked, _ := strconv.Atoi(m[2]); asked > minor(api) {
			refuse(w, 400, fmt.Sprintf("client version %s.%s is too new. Maximum supported API version is %s", m[1], m[2], api))
			return
		}
		r.URL.Path = r.URL.Path[len(m[0]):]
	}
	e.mu.Lock()
	e.requests = append(e.requests, r.Method+" "+r.URL.Path)
	e.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch parts[0] {
	case "_ping":
		w.WriteHeader(200)
	case "info":
		answer(w, 200, map[string]any{"ServerVersion": "20.10.24", "Name": e.fake.Name, "Driver": "overlay2", "DriverStatus": [][2]string{}})
	case "containers":
		e.serveContainers(w, r, parts[1:])
	case "exec":
		e.serveExec(w, r, parts[1:])
	case "images":
		e.serveImages(w, r, strings.TrimPrefix(r.URL.Path, "/images/"))
	case "networks":
		e.serveNetworks(w, r, parts[1:])
	case "events":
		e.serveEvents(w, r)
	default:
		refuse(w, 404, "page not found")
	}
}

func minor(api string) int {
	_, after, _ := strings.Cut(api, ".")
	n, _ := strconv.Atoi(after)
	return n
}

func (e *Engine) serveNetworks(w http.ResponseWriter, r *http.Request, parts []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && len(parts) == 0:
		found := []*network{}
		want := filtersOf(r)["name"]
		for _, n := range e.networks {
			if len(want) == 0 || slices.ContainsFunc(want, func(s string) bool { return strings.Contains(n.Name, s) }) {
				found = append(found, n)
			}
		}
		answerList(w, found, func(n *network) any {
			return map[string]any{"Id": n.ID, "Name": n.Name, "Labels": n.Labels, "Created": n.Created.Format(time.RFC3339Nano)}
		})
	case r.Method == http.MethodPost && parts[0] == "create":
		var asked network
		if !read(w, r, &asked) {
			return
		}
		asked.ID, asked.Created = newID(), time.Now()
		e.networks = append(e.networks, &asked)
		answer(w, 201, map[string]any{"Id": asked.ID, "Warning": ""})
	case r.Method == http.MethodDelete:
		before := len(e.networks)
		e.networks = slices.DeleteFunc(e.networks, func(n *network) bool { return n.ID == parts[0] || n.Name == parts[0] })
		if len(e.networks) == before {
			refuse(w, 404, "network "+parts[0]+" not found")
			return
		}
		w.WriteHeader(204)
	default:
		refuse(w, 404, "page not found")
	}
}

// emit appends an event; the engine is locked.
func (e *Engine) emit(c *container, action string, more map[string]string) {
	now := time.Now()
	one := event{Type: "container", Action: action, Scope: "local", Time: now.Unix(), TimeNano: now.UnixNano()}
	one.Actor.ID = c.ID
	one.Actor.Attributes = map[string]string{"name": c.Name, "image": c.Config.Image}
	for _, m := range []map[string]string{c.Config.Labels, more} {
		for k, v := range m {
			one.Actor.Attributes[k] = v
		}
	}
	e.events = append(e.events, one)
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) serveEvents(w http.ResponseWriter, r *http.Request) {
	filters := filtersOf(r)
	e.mu.Lock()
	next := len(e.events)
	if since := r.URL.Query().Get("since"); since != "" {
		seconds, nanos, _ := strings.Cut(since, ".")
		s, _ := strconv.ParseInt(seconds, 10, 64)
		n, _ := strconv.ParseInt(nanos, 10, 64)
		from := time.Unix(s, n).UnixNano()
		next = slices.IndexFunc(e.events, func(one event) bool { return one.TimeNano >= from })
		if next < 0 {
			next = len(e.events)
		}
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	flush(w)
	encoder := json.NewEncoder(w)
	for {
		e.mu.Lock()
		fresh, changed, down := slices.Clone(e.events[next:]), e.changed, e.down
		next = len(e.events)
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

func matchesEvent(one event, filters map[string][]string) bool {
	if want := filters["container"]; len(want) > 0 && !slices.ContainsFunc(want, func(id string) bool {
		return strings.HasPrefix(one.Actor.ID, id) || one.Actor.Attributes["name"] == id
	}) {
		return false
	}
	return matchesLabels(one.Actor.Attributes, filters["label"])
}

func matchesLabels(labels map[string]string, want []string) bool {
	for _, term := range want {
		name, value, exact := strings.Cut(term, "=")
		have, ok := labels[name]
		if !ok || exact && have != value {
			return false
		}
	}
	return true
}

// filtersOf reads both forms: lists of values, and sets.
func filtersOf(r *http.Request) map[string][]string {
	found := map[string][]string{}
	var sets map[string]map[string]bool
	text := []byte(r.URL.Query().Get("filters"))
	if json.Unmarshal(text, &sets) != nil {
		json.Unmarshal(text, &found) //nolint:errcheck // No filters, then.
		return found
	}
	for term, values := range sets {
		for value := range values {
			found[term] = append(found[term], value)
		}
		slices.Sort(found[term])
	}
	return found
}

func newID() string {
	id := make([]byte, 32)
	rand.Read(id) //nolint:errcheck // Never fails.
	return hex.EncodeToString(id)
}

func flush(w http.ResponseWriter) { http.NewResponseController(w).Flush() } //nolint:errcheck // The client notices.

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // The client notices.
}

func answerList[T any](w http.ResponseWriter, list []T, one func(T) any) {
	out := []any{}
	for _, item := range list {
		out = append(out, one(item))
	}
	answer(w, 200, out)
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		refuse(w, 400, "invalid JSON: "+err.Error())
	}
	return err == nil
}

// hostPath is where a path in a container lies in the fake, by its bind
// mounts, or empty.
func (c *container) hostPath(inside string) string {
	for _, m := range c.HostConfig.Mounts {
		if m.Type != "bind" {
			continue
		}
		if rest, ok := strings.CutPrefix(inside, m.Target); ok && (rest == "" || strings.HasPrefix(rest, "/")) {
			return filepath.Join(m.Source, rest)
		}
	}
	return ""
}

// after calls do in a while, unless the engine was closed before.
func (e *Engine) after(ctx context.Context, d time.Duration, do func()) {
	e.wait.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(d):
			do()
		}
	})
}
