package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	longest "github.com/kstep/kstep/internal/lines"
)

// Containers lists containers, newest first.
func (c *Client) Containers(ctx context.Context, f Filter) ([]Container, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	terms := f.labels()
	if len(f.IDs) > 0 {
		terms.Add("id", f.IDs...)
	}
	for _, name := range f.Names {
		terms.Add("name", "^/"+regexp.QuoteMeta(name)+"$")
	}
	answer, err := c.api.ContainerList(ctx, client.ContainerListOptions{All: f.All, Filters: terms})
	if err != nil {
		return nil, c.fail("list containers", err)
	}
	list := make([]Container, len(answer.Items))
	for i, item := range answer.Items {
		list[i] = c.located(listed(item))
	}
	return f.matches(list), nil
}

// Inspect observes one container by id or name; ErrNotFound if it is not there.
func (c *Client) Inspect(ctx context.Context, id string) (Container, error) {
	if _, err := c.ready(ctx); err != nil {
		return Container{}, err
	}
	answer, err := c.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return Container{}, c.fail("inspect container "+id, err)
	}
	seen := c.located(inspected(answer.Container))
	c.observe(id, seen)
	return seen, nil
}

// Create makes a container and does not start it. ErrConflict if the name is
// taken, ErrNotFound if the image or the network is missing. An answer that was
// lost is looked up: it may have been made. If it cannot be connected to a further
// network, it is there with the error.
func (c *Client) Create(ctx context.Context, s Spec) (string, error) {
	v, err := c.ready(ctx)
	if err != nil {
		return "", err
	}
	if err := tooOld(s.Options, v); err != nil {
		return "", fmt.Errorf("create container %s on %s: %w", s.Name, c.host, err)
	}
	if err := c.routesAlone(ctx, s); err != nil {
		return "", err
	}
	id, err := c.create(ctx, s, v)
	if err != nil {
		return "", err
	}
	// Engines before 25.0 (API 1.44) take only one network with the request.
	for _, network := range s.Networks {
		if err := c.Connect(ctx, id, network, s.aliases()); err != nil {
			return id, err
		}
	}
	return id, nil
}

func (c *Client) create(ctx context.Context, s Spec, v version) (string, error) {
	answer, err := c.api.ContainerCreate(ctx, createRequest(s, v))
	if lost(ctx, err) {
		made, look := c.Inspect(ctx, s.Name)
		if look == nil && s.Labels[LabelSpec] != "" && made.Labels[LabelSpec] == s.Labels[LabelSpec] {
			return made.ID, nil
		}
		if errors.Is(look, ErrNotFound) {
			answer, err = c.api.ContainerCreate(ctx, createRequest(s, v))
		}
	}
	if err != nil {
		return "", c.fail("create container "+s.Name, err)
	}
	return answer.ID, nil
}

// lost reports whether a request got no answer and there is time to find out
// what became of it.
func lost(ctx context.Context, err error) bool {
	_, unanswered := transportCause(err)
	return unanswered && ctx.Err() == nil
}

// Start starts a container; one that runs is fine. ErrPortTaken names the port.
func (c *Client) Start(ctx context.Context, id string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
	return c.fail("start container "+id, err)
}

// Stop sends a container its stop signal and kills it after the grace. It
// returns when it has ended, so ctx must outlast the grace. One that does not
// run is fine. Empty fields of stop mean what the container was created with.
func (c *Client) Stop(ctx context.Context, id string, stop Stop) error {
	v, err := c.ready(ctx)
	if err != nil {
		return err
	}
	options := client.ContainerStopOptions{Timeout: seconds(stop.Timeout)}
	if v.can(stopSignal) {
		options.Signal = stop.Signal
	} else if stop.Signal != "" {
		if err := c.signalFirst(ctx, id, stop.Signal); err != nil {
			return err
		}
	}
	_, err = c.api.ContainerStop(ctx, id, options)
	return c.fail("stop container "+id, err)
}

// signalFirst sends the signal by itself to an engine whose stop takes none,
// unless it is the one that the container was created with. The stop after it
// sends the container's own too, and waits.
func (c *Client) signalFirst(ctx context.Context, id, signal string) error {
	answer, err := c.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return c.fail("stop container "+id, err)
	}
	if answer.Container.State == nil || !answer.Container.State.Running || answer.Container.Config.StopSignal == signal {
		return nil
	}
	return c.Kill(ctx, id, signal)
}

// Kill sends a signal; empty means SIGKILL. A container that does not run is
// ErrConflict.
func (c *Client) Kill(ctx context.Context, id, signal string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
	return c.fail("kill container "+id, err)
}

// Remove removes a container with its anonymous volumes, also a running one.
// A missing one is fine.
func (c *Client) Remove(ctx context.Context, id string) error { return c.remove(ctx, id, true) }

// RemoveAlone is Remove for a container whose volumes stay, also the anonymous
// ones.
func (c *Client) RemoveAlone(ctx context.Context, id string) error { return c.remove(ctx, id, false) }

func (c *Client) remove(ctx context.Context, id string, volumes bool) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: volumes})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	if cerrdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress") {
		return nil // Another process removes it right now.
	}
	return c.fail("remove container "+id, err)
}

// Rename gives a container another name; ErrConflict if that is taken. An
// answer that was lost is looked up.
func (c *Client) Rename(ctx context.Context, id, name string) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	_, err := c.api.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
	if lost(ctx, err) {
		now, look := c.Inspect(ctx, id)
		if look == nil && now.Name == name {
			return nil
		}
		if look == nil {
			_, err = c.api.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
		}
	}
	return c.fail(fmt.Sprintf("rename container %s to %s", id, name), err)
}

// Logs returns the last lines that a container wrote, both streams in order.
func (c *Client) Logs(ctx context.Context, id string, tail int) ([]string, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	if err := c.beforeText(ctx, id); err != nil {
		return nil, err
	}
	body, err := c.api.ContainerLogs(ctx, id, client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(tail),
	})
	if err != nil {
		return nil, c.fail("read logs of container "+id, err)
	}
	defer body.Close()
	var text bytes.Buffer
	if err := demultiplex(&text, body); err != nil {
		return nil, c.fail("read logs of container "+id, err)
	}
	lines := slices.Collect(strings.Lines(text.String()))
	for i := range lines {
		lines[i] = cutLine(strings.TrimRight(lines[i], "\r\n"))
	}
	if len(lines) > tail { // One per stream and replica, in some engines.
		lines = lines[len(lines)-tail:]
	}
	return lines, nil
}

// cutLine bounds a line without an end.
func cutLine(line string) string {
	if len(line) <= longest.Max {
		return line
	}
	return fmt.Sprintf("%s … (%d bytes more)", line[:longest.Max], len(line)-longest.Max)
}

// demultiplex copies both streams into one. A container with a terminal has no
// frames: then the text is copied as it is.
func demultiplex(to io.Writer, from io.Reader) error {
	data, err := readAnswer(from)
	if err != nil {
		return err
	}
	if len(data) > 0 && (len(data) < 8 || data[0] > 3 || !bytes.Equal(data[1:4], []byte{0, 0, 0})) {
		_, err = to.Write(data)
		return err
	}
	_, err = stdcopy.StdCopy(to, to, bytes.NewReader(data))
	return err
}

// CopyFrom returns a file or folder of a container, running or not, as a tar
// stream; ErrNotFound if the path is not there. The caller closes it.
func (c *Client) CopyFrom(ctx context.Context, id, path string) (io.ReadCloser, error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	answer, err := c.api.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: path})
	if err != nil {
		return nil, c.fail(fmt.Sprintf("copy %s from container %s", path, id), err)
	}
	return answer.Content, nil
}
