package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kstep/kstep/integration/rig"
	"github.com/kstep/kstep/internal/engine"
)

// floor is the least that a deploy can take: pull, create, start, first healthy
// answer, stop of the old container, on both hosts at once. It goes straight to
// the engines' sockets, without SSH, and sends requests to the app from the
// host's own network. It leaves no trace and protects nothing: no lease, no
// files, no environment, no proxy, no drain, nothing verified, nothing pruned.
type floor struct {
	total time.Duration // Of the slower host.
	steps map[string]time.Duration
}

// floorSteps are in order.
func floorSteps() []string { return []string{"pull", "create", "start", "healthy", "stop"} }

// floorHost is a host and the container that the last floor started there.
type floorHost struct {
	name    string
	engine  *engine.Client
	netns   string // Of the host.
	old     string
	oldName string
}

func newFloorHost(ctx context.Context, h *rig.Host) (*floorHost, error) {
	out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.Pid}}", "kstep-rig-"+h.Name+"-1").Output()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", h.Name, err)
	}
	socket := "/run/kstep-rig/" + h.Name + "/docker.sock"
	return &floorHost{
		name:  h.Name,
		netns: "/proc/" + strings.TrimSpace(string(out)) + "/ns/net",
		engine: engine.New(engine.Options{Host: h.Name, Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}),
	}, nil
}

// floor measures one exchange on all hosts, and takes the image that left away,
// so that the next pull is a real one.
func (b *bench) floor(ctx context.Context, image string) (floor, error) {
	results := make([]floor, len(b.hosts))
	errs := make([]error, len(b.hosts))
	var wg sync.WaitGroup
	for i, h := range b.hosts {
		wg.Go(func() { results[i], errs[i] = h.exchange(ctx, image) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return floor{}, fmt.Errorf("floor: %w", err)
	}
	slower := results[0]
	for _, f := range results {
		if f.total > slower.total {
			slower = f
		}
	}
	for _, h := range b.hosts {
		if err := h.clear(ctx); err != nil {
			return slower, fmt.Errorf("floor: %w", err)
		}
	}
	return slower, nil
}

func (h *floorHost) exchange(ctx context.Context, image string) (floor, error) {
	f := floor{steps: map[string]time.Duration{}}
	var id string
	began := time.Now()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"pull", func() error { return h.engine.PullImage(ctx, image, nil, nil) }},
		{"create", func() (err error) {
			id, err = h.engine.Create(ctx, engine.Spec{
				Name: "floor-" + image[strings.LastIndex(image, ":")+1:], Image: image, Network: network, Restart: "unless-stopped",
			})
			return err
		}},
		{"start", func() error { return h.engine.Start(ctx, id) }},
		{"healthy", func() error { return h.healthy(ctx, id) }},
		{"stop", func() error {
			if h.old == "" {
				return nil
			}
			return h.engine.Stop(ctx, h.old, engine.Stop{})
		}},
	} {
		from := time.Now()
		if err := step.do(); err != nil {
			return f, err
		}
		f.steps[step.name] = time.Since(from)
	}
	f.total = time.Since(began)
	h.old, h.oldName = id, h.old
	return f, nil
}

// network is kstep's, where its containers are too.
const network = "kstep"

// healthy sends requests until the app answers.
func (h *floorHost) healthy(ctx context.Context, id string) error {
	c, err := h.engine.Inspect(ctx, id)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.dial}}
	url := fmt.Sprintf("http://%s:3000/up", c.Addresses[network])
	for {
		resp, err := client.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// dial connects as if from the host: a socket stays in the network namespace
// that its thread was in when it was made.
func (h *floorHost) dial(ctx context.Context, proto, address string) (net.Conn, error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	theirs, err := os.Open(h.netns)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the network of %s: %w", h.name, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, proto, address)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so the runtime ends it with this goroutine.
		return nil, errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return conn, err
}

// clear removes the container that was stopped, and its image.
func (h *floorHost) clear(ctx context.Context) error {
	if h.oldName == "" {
		return nil
	}
	old, err := h.engine.Inspect(ctx, h.oldName)
	if err != nil {
		return err
	}
	if err := h.engine.Remove(ctx, old.ID); err != nil {
		return err
	}
	return h.engine.RemoveImage(ctx, old.Image)
}
