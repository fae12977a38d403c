package hosttest

import (
	"cmp"
	"context"
	"fmt"
	maps0 "maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Behaviour is how containers of an image behave. The zero Behaviour serves
// the container's version on every port.
type Behaviour struct {
	// Handler makes what is served on every port.
	Handler func(Process) http.Handler
	// Exit ends the container at once, with this status, after its log.
	Exit *int
	// Log is what it writes at its start.
	Log []string
	// Slow is how long it takes until it listens.
	Slow time.Duration
	// Crash ends a container that ran this long, with status 1.
	Crash time.Duration
	// Sick makes its application's health check fail.
	Sick bool
	// Silent does not listen at all.
	Silent bool
	// Port is the only port that it listens on; 0 means every port.
	Port int
	// H2C serves HTTP/2 without TLS and nothing else, as gRPC servers do.
	H2C bool
	// TLS serves HTTPS with a self-signed certificate.
	TLS bool
	// StopStatus is the exit status after a stop signal. A JVM ends with 143.
	StopStatus int
	// IgnoreStop goes on until it is killed.
	IgnoreStop bool
	// Abrupt ends at once at a stop signal, with status 143, whatever requests it
	// has.
	Abrupt bool
}

// Process is what a running container can read about itself.
type Process struct {
	ID, Name string
	Env      map[string]string
	Labels   map[string]string
}

// container is one of the engine's. All fields are guarded by the engine.
type container struct {
	engine     *Engine
	behaviour  Behaviour
	image      *image
	ID, Name   string
	Config     containerConfig
	HostConfig hostConfig
	networks   map[string]*endpoint // By name.
	pid        int
	sockets    *sockets

	state     string
	health    string
	healthLog []probeResult
	streak    int
	exitCode  int
	restarts  int
	err       string
	logs      []logLine
	created   time.Time
	started   time.Time
	finished  time.Time
	listening bool
	stopping  bool // By hand: no restart policy applies.
	life      context.Context
	end       context.CancelFunc
	served    *http.Server
	wire      *pipeListener
	process   *exec.Cmd
	ended     chan struct{}
}

type containerConfig struct {
	Hostname    string `json:",omitempty"`
	Image       string
	Cmd         []string
	Env         []string
	Labels      map[string]string
	StopSignal  string `json:",omitempty"`
	StopTimeout *int   `json:",omitempty"`
	Healthcheck *healthConfig

	ExposedPorts map[string]struct{} `json:",omitempty"`
}

type healthConfig struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

type hostConfig struct {
	NetworkMode   string
	RestartPolicy restartPolicy
	LogConfig     struct {
		Type   string
		Config map[string]string
	}
	Mounts       []mountConfig
	Binds        []string // The older form, which makes a missing folder.
	PortBindings map[string][]struct{ HostIP, HostPort string }
	Devices      []struct{ PathOnHost string }
}

type restartPolicy struct {
	Name              string
	MaximumRetryCount int
}

type mountConfig struct {
	Type, Source, Target string
	ReadOnly             bool
	VolumeOptions        *struct {
		DriverConfig *struct{ Options map[string]string }
	} `json:",omitempty"`
}

type probeResult struct {
	Start, End time.Time
	ExitCode   int
	Output     string
}

type logLine struct {
	stderr bool
	text   string
	at     time.Time
}

// create makes a container; the engine is locked.
func (e *Engine) create(name string, config containerConfig, hostConfig hostConfig, networks map[string]*endpoint) (*container, int, error) {
	if name == "" {
		name = "fake_" + newID()[:12]
	}
	if other := e.find(name); other != nil && other.Name == name {
		return nil, 409, fmt.Errorf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, other.ID)
	}
	img := e.findImage(config.Image)
	if img == nil {
		return nil, 404, fmt.Errorf("No such image: %s", config.Image)
	}
	for _, bind := range hostConfig.Binds {
		parts := append(strings.SplitN(bind, ":", 3), "", "")
		m := mountConfig{Type: "volume", Source: parts[0], Target: parts[1], ReadOnly: slices.Contains(strings.Split(parts[2], ","), "ro")}
		if strings.HasPrefix(m.Source, "/") {
			m.Type = "bind"
			if err := os.MkdirAll(m.Source, 0o755); err != nil {
				return nil, 500, err
			}
		}
		hostConfig.Mounts = append(hostConfig.Mounts, m)
	}
	for _, m := range hostConfig.Mounts {
		if m.Type != "bind" {
			continue
		}
		if _, err := os.Stat(m.Source); err != nil && m.Source != e.fake.Socket {
			return nil, 400, fmt.Errorf("invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source)
		}
	}
	c := &container{
		engine: e, ID: newID(), Name: name, Config: config, HostConfig: hostConfig, networks: networks,
		image: img, state: "created", created: time.Now(), behaviour: e.behaviourOf(img, config.Image),
	}
	c.Config.Labels = merged(img.Labels, config.Labels)
	c.Config.Env = append(slices.Clone(img.Env), config.Env...)
	if len(c.Config.Cmd) == 0 {
		c.Config.Cmd = img.Cmd
	}
	if len(img.Exposed) > 0 {
		exposed := maps0.Clone(config.ExposedPorts)
		if exposed == nil {
			exposed = map[string]struct{}{}
		}
		for _, port := range img.Exposed {
			exposed[port] = struct{}{}
		}
		c.Config.ExposedPorts = exposed
	}
	if c.Config.Healthcheck == nil || len(c.Config.Healthcheck.Test) == 0 {
		c.Config.Healthcheck = img.Health
	}
	if err := c.fillVolumes(); err != nil {
		return nil, 500, err
	}
	e.containers = append([]*container{c}, e.containers...)
	e.emit(c, "create", nil)
	return c, 201, nil
}

func merged(maps ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range maps {
		maps0.Copy(all, m)
	}
	return all
}

// find finds by id, by the beginning of one, or by name; the engine is locked.
func (e *Engine) find(ref string) *container {
	for _, c := range e.containers {
		if c.ID == ref || c.Name == strings.TrimPrefix(ref, "/") {
			return c
		}
	}
	for _, c := range e.containers {
		if len(ref) >= 4 && strings.HasPrefix(c.ID, ref) {
			return c
		}
	}
	return nil
}

func (c *container) publishedPorts() []int {
	var ports []int
	for _, bindings := range c.HostConfig.PortBindings {
		for _, b := range bindings {
			var n int
			if _, err := fmt.Sscan(b.HostPort, &n); err == nil {
				ports = append(ports, n)
			}
		}
	}
	return ports
}

// openPorts are the ports of a running container as a list has them.
func (c *container) openPorts() []map[string]any {
	open := []map[string]any{}
	if c.state != "running" {
		return open
	}
	for inside, bindings := range c.HostConfig.PortBindings {
		number, kind, _ := strings.Cut(inside, "/")
		for _, b := range bindings {
			private, _ := strconv.Atoi(number)
			if public, err := strconv.Atoi(b.HostPort); err == nil {
				open = append(open, map[string]any{"IP": cmp.Or(b.HostIP, "0.0.0.0"), "PrivatePort": private, "PublicPort": public, "Type": kind})
			}
		}
	}
	return open
}

// dialFromHost reaches a container's address, or a published port. It returns
// nothing where the address is not one of the engine's.
func (e *Engine) dialFromHost(name string, port int) (net.Conn, error) {
	e.mu.Lock()
	var found *container
	inside, from, to := port, "", name
	for _, c := range e.containers {
		if c.state != "running" {
			continue
		}
		if slices.Contains(c.addresses(), name) {
			found = c
			break
		}
		if target, ok := c.published(port); ok && (name == "127.0.0.1" || name == "localhost") && len(c.addresses()) > 0 {
			found, inside, to = c, target, c.addresses()[0]
			break
		}
	}
	for _, n := range e.networks {
		if found != nil && found.on(n) != nil && found.on(n).address == to {
			from = n.gateway()
		}
	}
	e.mu.Unlock()
	if found == nil {
		if strings.HasPrefix(name, "172.") || name == "localhost" {
			return nil, fmt.Errorf("connect to %s port %d: No route to host", name, port)
		}
		return nil, nil
	}
	return found.dial(from, to, inside)
}

func (c *container) published(host int) (int, bool) {
	for inside, bindings := range c.HostConfig.PortBindings {
		for _, b := range bindings {
			if b.HostPort == fmt.Sprint(host) {
				var n int
				_, err := fmt.Sscanf(inside, "%d/tcp", &n)
				return n, err == nil
			}
		}
	}
	return 0, false
}

// dial reaches a port of a running container, from and at an address on one of its
// networks.
func (c *container) dial(from, to string, port int) (net.Conn, error) {
	c.engine.mu.Lock()
	listening, wire, table := c.listening, c.wire, c.sockets
	c.engine.mu.Unlock()
	if only := c.behaviour.Port; !listening || only != 0 && only != port {
		return nil, fmt.Errorf("connect to port %d: %w", port, syscall.ECONNREFUSED)
	}
	client, server := duplex()
	return wire.connect(table.track(from, to, port, client, server))
}
