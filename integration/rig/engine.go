package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Container is the part of the engine's answer that tests look at.
type Container struct {
	ID           string `json:"Id"`
	Name         string
	Image        string // the image's ID
	RestartCount int
	State        struct {
		Status     string // "running", "exited", …
		Running    bool
		Pid        int
		ExitCode   int
		StartedAt  time.Time
		FinishedAt time.Time
		Health     *struct{ Status string }
	}
	Config struct {
		Image  string // the image as named at creation
		Labels map[string]string
		Env    []string
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

// Image is an image on a host.
type Image struct {
	ID       string `json:"Id"`
	RepoTags []string
}

// Containers lists the host's containers, running or not.
func (h *Host) Containers(ctx context.Context) ([]Container, error) {
	var ids []struct {
		ID string `json:"Id"`
	}
	if err := h.Get(ctx, "/containers/json?all=1", &ids); err != nil {
		return nil, err
	}
	containers := make([]Container, len(ids))
	for i, c := range ids {
		var err error
		if containers[i], err = h.Container(ctx, c.ID); err != nil {
			return nil, err
		}
	}
	return containers, nil
}

// Container inspects one container by name or ID.
func (h *Host) Container(ctx context.Context, name string) (Container, error) {
	var c Container
	err := h.Get(ctx, "/containers/"+url.PathEscape(name)+"/json", &c)
	c.Name = strings.TrimPrefix(c.Name, "/")
	return c, err
}

// Images lists the host's images, dangling ones too.
func (h *Host) Images(ctx context.Context) ([]Image, error) {
	var images []Image
	err := h.Get(ctx, "/images/json", &images)
	return images, err
}

// ContainerLogs returns what a container has printed.
func (h *Host) ContainerLogs(ctx context.Context, name string) (string, error) {
	return h.Exec(ctx, "sh", "-c", `docker logs "$1" 2>&1`, "logs", name)
}

// Get requests a path of the API of the host's engine and decodes the answer.
func (h *Host) Get(ctx context.Context, path string, answer any) error {
	return h.call(ctx, http.MethodGet, path, answer)
}

// call takes an answer of "there is no such thing" to a deletion as done.
func (h *Host) call(ctx context.Context, method, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	resp, err := h.engine.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if method == http.MethodDelete && resp.StatusCode == http.StatusNotFound {
		return nil
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s %s: %s: %s", h.Name, method, path, resp.Status, bytes.TrimSpace(body))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(body, answer)
}

// engineClient speaks HTTP over a unix socket.
func engineClient(socket string) *http.Client {
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
}
