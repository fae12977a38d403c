package hosttest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	// IgnoreStop goes on until it is killed.
	IgnoreStop bool
}

// Process is what a running container knows of itself.
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
	networks   map[string][]string // Aliases by network.
	address    string

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
}

type healthConfig struct {
	Test                           []string
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

type hostConfig struct {
	NetworkMode   string
	RestartPolicy struct{ Name string }
	LogConfig     struct {
		Type   string
		Config map[string]string
	}
	Mounts       []mountConfig
	PortBindings map[string][]struct{ HostPort string }
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
}

// create makes a container; the engine is locked.
func (e *Engine) create(name string, config containerConfig, hostConfig hostConfig, networks map[string][]string) (*container, int, error) {
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
		for k, v := range m {
			all[k] = v
		}
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

// start starts a container; the engine is locked.
func (c *container) start() error {
	e := c.engine
	for _, host := range c.publishedPorts() {
		if e.ports[host] || slices.ContainsFunc(e.containers, func(o *container) bool {
			return o != c && o.state == "running" && slices.Contains(o.publishedPorts(), host)
		}) {
			return fmt.Errorf("driver failed programming external connectivity on endpoint %s (%s): Bind for 0.0.0.0:%d failed: port is already allocated", c.Name, c.ID, host)
		}
	}
	for name := range c.networks {
		if !slices.ContainsFunc(e.networks, func(n *network) bool { return n.Name == name || n.ID == name }) {
			return fmt.Errorf("network %s not found", name)
		}
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.ended = make(chan struct{})
	c.state, c.started, c.exitCode, c.stopping, c.err = "running", time.Now(), 0, false, ""
	c.address = e.freeAddress()
	c.listening = false
	e.emit(c, "start", nil)
	for _, line := range c.behaviour.Log {
		c.logs = append(c.logs, logLine{text: line})
	}
	if len(c.Config.Cmd) > 0 && (c.Config.Cmd[0] == "sh" || c.Config.Cmd[0] == "/bin/sh") {
		return c.startProcess()
	}
	switch b := c.behaviour; {
	case b.Exit != nil:
		e.after(c.life, 0, func() { c.exit(*b.Exit) })
		return nil
	case b.Silent:
	case b.Slow > 0:
		e.after(c.life, b.Slow, c.lockedListen)
	default:
		c.listen()
	}
	if c.behaviour.Crash > 0 {
		e.after(c.life, c.behaviour.Crash, func() { c.exit(1) })
	}
	c.startHealth()
	return nil
}

// startProcess runs a shell command of the container on this machine, in an
// empty folder and with the container's environment alone.
func (c *container) startProcess() error {
	cmd := c.command(c.Config.Cmd)
	var out, errs lineWriter
	out.add = func(text string) { c.log(false, text) }
	errs.add = func(text string) { c.log(true, text) }
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	c.process = cmd
	c.listen()
	c.engine.wait.Go(func() {
		cmd.Wait() //nolint:errcheck // The status is looked at.
		status := cmd.ProcessState.ExitCode()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			status = 128 + int(ws.Signal())
		}
		c.exit(status)
	})
	return nil
}

func (c *container) command(argv []string) *exec.Cmd {
	cmd := exec.CommandContext(c.life, argv[0], argv[1:]...)
	cmd.Dir = filepath.Join(c.engine.fake.Root, "run")
	cmd.Env = append([]string{"PATH=/usr/bin:/bin"}, c.Config.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

func (c *container) log(stderr bool, text string) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	c.logs = append(c.logs, logLine{stderr, text})
}

func (c *container) lockedListen() {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.state == "running" {
		c.listen()
	}
}

// listen begins to serve; the engine is locked.
func (c *container) listen() {
	c.wire = newPipeListener()
	c.served = &http.Server{Handler: c.handler()}
	c.listening = true
	served, wire := c.served, c.wire
	c.engine.wait.Go(func() { served.Serve(wire) }) //nolint:errcheck // Until its end.
}

func (c *container) handler() http.Handler {
	p := Process{ID: c.ID, Name: c.Name, Labels: c.Config.Labels, Env: map[string]string{}}
	for _, pair := range c.Config.Env {
		name, value, _ := strings.Cut(pair, "=")
		p.Env[name] = value
	}
	if strings.Contains(c.Config.Image, "traefik") && c.behaviour.Handler == nil {
		return newTraefik(c)
	}
	if c.behaviour.Handler != nil {
		return c.behaviour.Handler(p)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "version %s\n", cmp.Or(p.Env["KSTEP_VERSION"], c.Config.Image))
	})
}

// exit ends a running container, by itself or by force, and starts it again if
// its policy says so.
func (c *container) exit(status int) {
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.state != "running" {
		return
	}
	c.release()
	c.state, c.exitCode, c.finished, c.health = "exited", status, time.Now(), healthAfterEnd(c.health)
	e.emit(c, "die", map[string]string{"exitCode": fmt.Sprint(status)})
	close(c.ended)
	policy := c.HostConfig.RestartPolicy.Name
	if c.stopping || e.down || policy == "" || policy == "no" || policy == "on-failure" && status == 0 {
		return
	}
	c.restarts++
	c.state = "restarting"
	pause := min(100*time.Millisecond<<min(c.restarts-1, 10), time.Minute)
	c.life, c.end = context.WithCancel(context.Background())
	e.after(c.life, pause, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if c.state == "restarting" {
			if err := c.start(); err != nil {
				c.state, c.err = "exited", err.Error()
			}
		}
	})
}

func healthAfterEnd(health string) string {
	if health == "" {
		return ""
	}
	return "unhealthy"
}

// release takes away what a running container has; the engine is locked.
func (c *container) release() {
	c.listening = false
	c.address = ""
	if c.end != nil {
		c.end()
	}
	if c.served != nil {
		c.served.Close()
		c.wire.Close()
		c.wire.sever()
		c.served = nil
	}
}

// kill ends a container without ceremony; the engine is locked.
func (c *container) kill() {
	c.stopping = true
	if c.end != nil {
		c.end()
	}
	if c.served != nil {
		c.served.Close()
		c.wire.Close()
	}
}

// stop ends a container as the engine does: a signal, the grace, then force.
func (c *container) stop(grace time.Duration) {
	e := c.engine
	e.mu.Lock()
	if c.state == "restarting" {
		c.end()
		c.state, c.stopping = "exited", true
		e.emit(c, "stop", nil)
	}
	if c.state != "running" {
		e.mu.Unlock()
		return
	}
	c.stopping = true
	e.emit(c, "kill", map[string]string{"signal": "15"})
	served, ended, process := c.served, c.ended, c.process
	if served != nil { // New connections are refused from now on.
		c.listening = false
	}
	ignore := c.behaviour.IgnoreStop
	e.mu.Unlock()
	switch {
	case ignore:
		wait(ended, grace)
		c.exit(137)
	case process != nil:
		syscall.Kill(-process.Process.Pid, c.stopSignal()) //nolint:errcheck // It may have ended.
		wait(ended, grace)
		c.exit(137)
		syscall.Kill(-process.Process.Pid, syscall.SIGKILL) //nolint:errcheck // It may have ended.
	default:
		status := 0
		if served != nil {
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			if served.Shutdown(ctx) != nil { // Requests in flight may finish.
				status = 137
			}
		}
		c.exit(status)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.emit(c, "stop", nil)
}

func (c *container) stopSignal() syscall.Signal {
	switch strings.TrimPrefix(c.Config.StopSignal, "SIG") {
	case "INT":
		return syscall.SIGINT
	case "QUIT":
		return syscall.SIGQUIT
	case "HUP":
		return syscall.SIGHUP
	default:
		return syscall.SIGTERM
	}
}

func wait(ended chan struct{}, grace time.Duration) {
	select {
	case <-ended:
	case <-time.After(grace):
	}
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

// freeAddress is the lowest that no running container has, so that addresses
// are used again by others, as in life; the engine is locked.
func (e *Engine) freeAddress() string {
	for n := 2; ; n++ {
		address := fmt.Sprintf("172.18.0.%d", n)
		if !slices.ContainsFunc(e.containers, func(c *container) bool { return c.address == address }) {
			return address
		}
	}
}

// dialFromHost reaches a container's address, or a published port. It returns
// nothing where the host would ask somebody else.
func (e *Engine) dialFromHost(name string, port int) (net.Conn, error) {
	e.mu.Lock()
	var found *container
	inside := port
	for _, c := range e.containers {
		if c.state != "running" {
			continue
		}
		if c.address == name {
			found = c
			break
		}
		if target, ok := c.published(port); ok && (name == "127.0.0.1" || name == "localhost") {
			found, inside = c, target
			break
		}
	}
	e.mu.Unlock()
	if found == nil {
		if strings.HasPrefix(name, "172.18.") || name == "localhost" {
			return nil, fmt.Errorf("connect to %s port %d: No route to host", name, port)
		}
		return nil, nil
	}
	return found.dial(inside)
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

// dial reaches a port of a running container.
func (c *container) dial(port int) (net.Conn, error) {
	c.engine.mu.Lock()
	listening, wire := c.listening, c.wire
	c.engine.mu.Unlock()
	if !listening {
		return nil, fmt.Errorf("connect to port %d: %w", port, syscall.ECONNREFUSED)
	}
	return wire.dialPort(port)
}

// lineWriter splits what a process writes into lines.
type lineWriter struct {
	add  func(string)
	rest string
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.add(line)
		l.rest = rest
	}
}
