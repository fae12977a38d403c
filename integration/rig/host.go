package rig

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// engineWait is how long an engine may take to answer after it was started; 2 s
// are usual.
const engineWait = 60 * time.Second

// Host is one Docker host of the rig.
type Host struct {
	// Name is the host's name in the rig's network, and in the deployer's known_hosts.
	Name string
	// Addr is its address, reachable from the machine outside too.
	Addr string

	engine  *http.Client
	project string
}

func newHost(project, name, addr string) *Host {
	return &Host{Name: name, Addr: addr, project: project, engine: engineClient("/run/" + project + "/" + name + "/docker.sock")}
}

// URL is what the host publishes on port 80.
func (h *Host) URL() string { return "http://" + h.Addr }

// Exec runs a command as root on the host, not through SSH, and returns its
// stdout.
func (h *Host) Exec(ctx context.Context, argv ...string) (string, error) {
	return docker(ctx, append([]string{"exec", h.container()}, argv...)...)
}

// KillContainerProcess kills a container's first process behind the engine's
// back, so that the engine takes it for a crash and its restart policy acts.
func (h *Host) KillContainerProcess(ctx context.Context, container string) error {
	c, err := h.Container(ctx, container)
	if err != nil {
		return err
	}
	if c.State.Pid == 0 {
		return fmt.Errorf("%s: %s does not run", h.Name, container)
	}
	_, err = h.Exec(ctx, "kill", "-KILL", fmt.Sprint(c.State.Pid))
	return err
}

// RestartEngine stops the engine, and with it all containers, and waits until it
// answers again. Containers come back by their restart policies only.
func (h *Host) RestartEngine(ctx context.Context) error {
	if err := h.killEngine(ctx); err != nil {
		return err
	}
	return h.awaitEngine(ctx)
}

// StopEngine stops the engine until StartEngine; SSH stays up.
func (h *Host) StopEngine(ctx context.Context) error {
	if _, err := h.Exec(ctx, "touch", "/run/engine-off"); err != nil {
		return err
	}
	return h.killEngine(ctx)
}

// StartEngine undoes StopEngine.
func (h *Host) StartEngine(ctx context.Context) error {
	if _, err := h.Exec(ctx, "rm", "-f", "/run/engine-off"); err != nil {
		return err
	}
	return h.awaitEngine(ctx)
}

// PowerCycle kills everything on the host at once and boots it again.
func (h *Host) PowerCycle(ctx context.Context) error {
	if _, err := docker(ctx, "restart", "--time", "0", h.container()); err != nil {
		return err
	}
	return h.awaitEngine(ctx)
}

func (h *Host) container() string { return h.project + "-" + h.Name + "-1" }

func (h *Host) killEngine(ctx context.Context) error {
	const script = `pid=$(cat /run/docker.pid) && kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done`
	_, err := h.Exec(ctx, "bash", "-c", script)
	return err
}

func (h *Host) awaitEngine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	for {
		err := h.Get(ctx, "/version", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: engine does not answer: %w", h.Name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
