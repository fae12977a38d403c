package hosttest

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

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
		if e.findNetwork(name) == nil {
			return fmt.Errorf("network %s not found", name)
		}
	}
	for _, d := range c.HostConfig.Devices {
		if !e.devices[d.PathOnHost] {
			return fmt.Errorf("error gathering device information while adding custom device %q: no such file or directory", d.PathOnHost)
		}
	}
	for name, one := range c.networks {
		one.address = e.freeAddress(e.findNetwork(name))
	}
	e.pids++
	table, err := newSockets(e.fake, e.pids, c.addresses())
	if err != nil {
		return err
	}
	table.counts = c.behaviour.H2C
	c.pid, c.sockets = e.pids, table
	c.life, c.end = context.WithCancel(context.Background())
	c.ended = make(chan struct{})
	c.state, c.started, c.exitCode, c.stopping, c.err = "running", time.Now(), 0, false, ""
	c.listening = false
	e.emit(c, "start", nil)
	for _, line := range c.behaviour.Log {
		c.logs = append(c.logs, logLine{text: line, at: time.Now()})
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
		cmd.Wait() // The status is looked at.
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
	c.logs = append(c.logs, logLine{stderr, text, time.Now()})
	close(c.engine.changed)
	c.engine.changed = make(chan struct{})
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
	c.served = &http.Server{Handler: c.handler(), ErrorLog: log.New(io.Discard, "", 0)}
	c.listening = true
	served, wire := c.served, net.Listener(c.wire)
	if t, ok := served.Handler.(*traefik); ok {
		wire = t.secured(wire)
	}
	if c.behaviour.H2C {
		served.Protocols = new(http.Protocols)
		served.Protocols.SetUnencryptedHTTP2(true)
	}
	if c.behaviour.TLS {
		served.TLSConfig = &tls.Config{Certificates: []tls.Certificate{selfSigned()}}
		c.engine.wait.Go(func() { served.ServeTLS(wire, "", "") }) // Until its end.
		return
	}
	c.engine.wait.Go(func() { served.Serve(wire) }) // Until its end.
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
	if c.stopping || e.down || !c.restartable() {
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
	for _, one := range c.networks {
		one.address = ""
	}
	c.sockets.end()
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
	c.sockets.end()
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
	case c.behaviour.Abrupt:
		c.exit(143)
	case process != nil:
		syscall.Kill(-process.Process.Pid, signalNamed(c.Config.StopSignal)) // It may have ended.
		wait(ended, grace)
		c.exit(137)
		syscall.Kill(-process.Process.Pid, syscall.SIGKILL) // It may have ended.
	default:
		status := c.behaviour.StopStatus
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

// signalNamed is SIGTERM for what has no name, or one that no test needs.
func signalNamed(name string) syscall.Signal {
	switch strings.TrimPrefix(name, "SIG") {
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
