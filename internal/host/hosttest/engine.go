package hosttest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Engine is a Docker engine that keeps everything in memory.
type Engine struct {
	fake   *Fake
	server *http.Server
	wire   *pipeListener
	wait   sync.WaitGroup

	ahead atomic.Int64 // Of this machine's clock, in nanoseconds.

	mu          sync.Mutex
	down        bool
	api         string
	arch        string
	containers  []*container // Newest first.
	images      []*image
	networks    []*network
	execs       map[string]*execution
	behaviours  map[string]Behaviour
	diskFull    bool
	isolated    bool
	unpackFails bool
	busy        int     // So many prunes are refused.
	events      []event // The newest; forgotten were before.
	forgotten   int
	changed     chan struct{} // Closed and replaced at every event.
	ports       map[int]bool  // Host ports that something else has.
	devices     map[string]bool
	requests    []string
	blobs       map[v1.Hash][]byte // Layers that were pulled, as they came.
	pids        int                // The last process.
}

func newEngine(f *Fake) *Engine {
	e := &Engine{
		fake: f, api: "1.41", wire: newPipeListener(),
		networks:   []*network{{ID: newID(), Name: "bridge", Created: time.Now(), subnet: firstSubnet - 1}},
		execs:      map[string]*execution{},
		behaviours: map[string]Behaviour{},
		changed:    make(chan struct{}),
		ports:      map[int]bool{},
		devices:    map[string]bool{},
		blobs:      map[v1.Hash][]byte{},
		pids:       40_000, // Beside those of programs that commands run.
	}
	e.server = &http.Server{Handler: http.HandlerFunc(e.serve)}
	e.wait.Go(func() { e.server.Serve(e.wire) }) // Until close.
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
	// A parent test keeps the cleanups of those below it, and so this engine, to
	// its own end.
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers, e.images, e.execs, e.events, e.requests, e.blobs = nil, nil, nil, nil, nil, nil
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

// PruneBusily refuses the next prunes, as many as count: another one runs.
func (e *Engine) PruneBusily(count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = count
}

// SetDiskFull makes pulls fail for want of space.
func (e *Engine) SetDiskFull(full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.diskFull = full
}

// SetIsolated keeps the engine from reaching the host's loopback, as in a network namespace
// of its own.
func (e *Engine) SetIsolated(isolated bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.isolated = isolated
}

// SetUnpackFails makes pulls fail when everything was fetched.
func (e *Engine) SetUnpackFails(fails bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unpackFails = fails
}

// TakePort makes a host port belong to something that is not a container.
func (e *Engine) TakePort(port int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports[port] = true
}

// AddDevice makes a device file be on the host, such as "/dev/kvm".
func (e *Engine) AddDevice(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.devices[path] = true
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
		id, name := e.fake.identity()
		answer(w, 200, map[string]any{"ID": id, "ServerVersion": "20.10.24", "Name": name, "DockerRootDir": e.fake.Root, "OSType": "linux", "Architecture": e.machine(), "Driver": "overlay2", "DriverStatus": [][2]string{}, "SystemTime": time.Now().Add(time.Duration(e.ahead.Load())).Format(time.RFC3339Nano)})
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

// SetArchitecture makes the engine's machine another one than x86_64.
func (e *Engine) SetArchitecture(arch string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.arch = arch
}

func (e *Engine) machine() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.arch == "" {
		return "x86_64"
	}
	return e.arch
}

// Remount makes a container have another folder of the host at a path, so that it
// can write there, as a container of an earlier kstep.
func (e *Engine) Remount(name, target, source string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(name)
	if c == nil {
		return fmt.Errorf("hosttest: no container %s", name)
	}
	for i := range c.HostConfig.Mounts {
		if m := &c.HostConfig.Mounts[i]; m.Target == target {
			m.Source, m.ReadOnly = source, false
			c.Config.Labels["kstep.spec"] = "sha256:earlier"
			return nil
		}
	}
	return fmt.Errorf("hosttest: %s has nothing at %s", name, target)
}

// SetClock makes the host's clock differ from this machine's.
func (e *Engine) SetClock(ahead time.Duration) { e.ahead.Store(int64(ahead)) }
