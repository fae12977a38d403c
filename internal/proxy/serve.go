package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/probe"
)

// serveTimeout bounds how long a started proxy may take until it serves.
// Traefik 3.6 refuses connections for 10 to 60 ms after its start, then answers
// 404 until its files are loaded, 100 to 550 ms after the start.
const serveTimeout = 30 * time.Second

// servePause is the pause between two questions to a proxy that starts.
const servePause = 25 * time.Millisecond

// Bounds of what is read from the folder of routes, which others may write to.
const (
	maxRouteFiles = 1000
	maxRouteFile  = 1 << 20 // Bytes.
)

// expectation is what a proxy has to serve before it counts as up.
type expectation struct {
	named   []string // Routers that its API has to list.
	enabled []string // Routers that also have to work.
}

// missing are the routers that do not fulfill the expectation, sorted.
func (e expectation) missing(now map[string]routerStatus) []string {
	var all []string
	for _, name := range e.named {
		if _, ok := now[name]; !ok {
			all = append(all, name)
		}
	}
	for _, name := range e.enabled {
		if now[name].Status != "enabled" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// expect reads what the proxy in the container has to serve: the routes in a
// folder and, of a proxy that runs, the routes that it serves.
func expect(ctx context.Context, h host.Host, c engine.Container, folder string) (expectation, error) {
	var e expectation
	var err error
	if e.named, err = routersIn(ctx, h, folder); err != nil || !c.Running() {
		return e, err
	}
	now, err := NewWord(h, c).routers(ctx)
	if err != nil {
		return e, ctx.Err() // A proxy that does not answer serves nothing that could be lost.
	}
	for name, r := range now {
		if strings.HasSuffix(name, "@file") && r.Status == "enabled" {
			e.enabled = append(e.enabled, name)
		}
	}
	return e, nil
}

// routersIn are the routers that the files of a folder define. Files that are
// not in the form that kstep writes are skipped: Traefik loads a folder as a
// whole, so they are loaded together with kstep's.
func routersIn(ctx context.Context, h host.Host, dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := h.Files().List(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e host.Entry) bool {
		return e.IsDir || path.Ext(e.Name) != ".yml" || strings.HasPrefix(e.Name, plan.CertificatePrefix) || e.Size > maxRouteFile
	})
	entries = entries[:min(len(entries), maxRouteFiles)]
	found := make([][]string, len(entries))
	errs := make([]error, len(entries))
	var all sync.WaitGroup
	for i, e := range entries {
		all.Go(func() {
			data, err := h.Files().Read(ctx, path.Join(dir, e.Name))
			found[i], errs[i] = routersOf(data), err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return slices.Concat(found...), nil
}

// routersOf are the routers that a file defines; none if kstep did not write it.
func routersOf(data []byte) []string {
	for bytes.HasPrefix(data, []byte("#")) { // A comment of YAML; the rest is JSON.
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	var file struct {
		HTTP struct {
			Routers map[string]json.RawMessage `json:"routers"`
		} `json:"http"`
	}
	if json.Unmarshal(data, &file) != nil {
		return nil
	}
	var names []string
	for name := range file.HTTP.Routers {
		names = append(names, name+"@file")
	}
	return names
}

// serve waits until a proxy that was started serves what is expected of it.
func serve(ctx context.Context, h host.Host, c engine.Container, want expectation) error {
	waiting, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	for {
		gone, err := ended(waiting, h, c)
		if err == nil && gone != nil {
			return notServing(ctx, h, c, gone)
		}
		lacks := err
		if lacks == nil {
			if lacks = answers(waiting, h, c, want); lacks == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-waiting.Done():
			return notServing(ctx, h, c, fmt.Errorf("does not serve after %s: %w", serveTimeout, lacks))
		case <-time.After(servePause):
		}
	}
}

// answers returns what the proxy lacks to count as up.
func answers(ctx context.Context, h host.Host, c engine.Container, want expectation) error {
	word := NewWord(h, c)
	defer word.client.CloseIdleConnections()
	now, err := word.routers(ctx)
	if err != nil {
		return err
	}
	if missing := want.missing(now); len(missing) > 0 {
		return fmt.Errorf("it does not serve %s", strings.Join(missing, ", "))
	}
	_, err = probe.Once(ctx, word.client, probe.Request{URL: URL(config.Proxy{}, c, "", HealthPath)})
	if _, answered := errors.AsType[*probe.StatusError](err); answered {
		return nil // By a catch-all that an older kstep wrote.
	}
	return err
}

// ended returns why the proxy's container is not up any more, or nil.
func ended(ctx context.Context, h host.Host, c engine.Container) (gone, err error) {
	now, err := h.Engine().Inspect(ctx, c.ID)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return errors.New("was removed meanwhile"), nil
	case err != nil:
		return nil, err
	case !now.Running() || now.Restarts > c.Restarts:
		return fmt.Errorf("ended with exit status %d", now.ExitCode), nil
	}
	return nil, nil
}

// notServing says why a proxy does not serve, with the end of its log.
func notServing(ctx context.Context, h host.Host, c engine.Container, why error) error {
	const lines, width = 3, 300
	err := fmt.Errorf("%s on %s %w", plan.ProxyContainer, h.Name(), why)
	if log, logErr := h.Engine().Logs(ctx, c.ID, lines); logErr == nil && len(log) > 0 {
		for i, line := range log {
			log[i] = line[:min(len(line), width)]
		}
		err = fmt.Errorf("%w; its log ends with: %s", err, strings.Join(log, " / "))
	}
	return exit.With(exit.Failed, err,
		"check proxy.args and proxy.image, and the files in "+Watched(c)+" that kstep did not write: Traefik loads the folder as a whole or not at all",
		"kstep proxy logs --hosts "+h.Name()+" shows more")
}
