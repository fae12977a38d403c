package hosttest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// serveUpdate changes a container's restart policy; the engine is locked.
func (c *container) serveUpdate(w http.ResponseWriter, r *http.Request) {
	var asked struct{ RestartPolicy restartPolicy }
	if !read(w, r, &asked) {
		return
	}
	switch p := asked.RestartPolicy; {
	case p.Name == "": // Other settings than the policy.
	case !slices.Contains([]string{"no", "always", "unless-stopped", "on-failure"}, p.Name):
		refuse(w, 400, fmt.Sprintf("invalid restart policy '%s'", p.Name))
		return
	case p.MaximumRetryCount != 0 && p.Name != "on-failure":
		refuse(w, 400, fmt.Sprintf("maximum retry count cannot be used with restart policy '%s'", p.Name))
		return
	default:
		c.HostConfig.RestartPolicy = p
	}
	c.engine.emit(c, "update", nil)
	answer(w, 200, map[string]any{"Warnings": []string{}})
}

// restartable reports whether the policy starts a container that has ended; the
// engine is locked.
func (c *container) restartable() bool {
	switch p := c.HostConfig.RestartPolicy; p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return c.exitCode != 0 && (p.MaximumRetryCount == 0 || c.restarts < p.MaximumRetryCount)
	default:
		return false
	}
}

// Restart restarts the engine, as a restart of its service does: it stops all
// containers, and then starts those whose restart policies require it.
// Connections to it break.
func (e *Engine) Restart() {
	e.SetDown(true)
	e.mu.Lock()
	running := slices.Clone(e.containers)
	e.mu.Unlock()
	for _, c := range running {
		c.shutdown()
	}
	e.mu.Lock()
	for _, c := range e.containers {
		manual := c.HostConfig.RestartPolicy.Name == "unless-stopped" && c.stopping
		if c.started.IsZero() || c.state == "running" || manual || !c.restartable() {
			continue
		}
		if err := c.start(); err != nil {
			c.state, c.err = "exited", err.Error()
		}
	}
	e.mu.Unlock()
	e.SetDown(false)
}

// shutdown ends a container with the engine. That is not a stop by hand.
func (c *container) shutdown() {
	e := c.engine
	e.mu.Lock()
	byHand := c.stopping
	if c.state == "restarting" {
		c.end()
		c.state = "exited"
	}
	e.mu.Unlock()
	c.stop(time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	c.stopping = byHand
}

// KillProcess ends a container's process from outside of the engine, which
// then does what the restart policy says.
func (e *Engine) KillProcess(name string) {
	e.mu.Lock()
	c := e.find(name)
	e.mu.Unlock()
	if c == nil {
		e.fake.t.Errorf("no container %s", name)
		return
	}
	c.exit(137)
}
