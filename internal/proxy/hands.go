package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// There is the host's proxy, which has to be there.
func There(ctx context.Context, h host.Host) (engine.Container, error) {
	c, err := h.Engine().Inspect(ctx, plan.ProxyContainer)
	if errors.Is(err, engine.ErrNotFound) {
		err = exit.With(exit.Failed, fmt.Errorf("there is no %s on %s: %w", plan.ProxyContainer, h.Name(), engine.ErrNotFound), "kstep proxy boot makes one")
	}
	return c, err
}

// Start starts the proxy that is there, as it was made.
func Start(ctx context.Context, h host.Host, n plan.Names) (Booted, error) {
	c, err := There(ctx, h)
	if err != nil || c.Running() {
		return Booted{Container: c}, err
	}
	joined, err := Join(ctx, h, c)
	if err != nil {
		return Booted{Container: c}, err
	}
	return start(ctx, h, n, Booted{Container: c, Changed: joined}, c.Published, nil)
}

// Stop stops the proxy; no service of the host is reached until it is started.
func Stop(ctx context.Context, h host.Host) (Booted, error) {
	c, err := There(ctx, h)
	if err != nil || !c.Up() {
		return Booted{Container: c}, err
	}
	if err := h.Engine().Stop(ctx, c.ID, engine.Stop{}); err != nil {
		return Booted{Container: c}, err
	}
	return Booted{Container: c, Changed: []string{"stopped " + plan.ProxyContainer}}, nil
}

// Restart stops the proxy, and starts it again.
func Restart(ctx context.Context, h host.Host, n plan.Names) (Booted, error) {
	now, err := There(ctx, h)
	if err != nil {
		return Booted{}, err
	}
	want, err := expect(ctx, h, now, Folder(ctx, h, now, n))
	if err != nil {
		return Booted{Container: now}, err
	}
	stopped, err := Stop(ctx, h)
	if err != nil {
		return stopped, err
	}
	joined, err := Join(ctx, h, now)
	if err != nil {
		return stopped, err
	}
	changed := append(stopped.Changed, joined...)
	started, err := start(ctx, h, n, Booted{Container: now}, now.Published, &want)
	started.Changed = append(changed, started.Changed...)
	return started, err
}

// Remove removes the proxy's container. The routes are files, and stay: the next
// proxy finds them.
func Remove(ctx context.Context, h host.Host) (Booted, error) {
	stopped, err := Stop(ctx, h)
	if errors.Is(err, engine.ErrNotFound) {
		return Booted{}, nil
	}
	if err != nil {
		return stopped, err
	}
	if err := h.Engine().Remove(ctx, stopped.Container.ID); err != nil {
		return stopped, err
	}
	stopped.Changed = append(stopped.Changed, "removed "+plan.ProxyContainer)
	return stopped, nil
}

// Differs reports whether a proxy has other settings than the config.
func Differs(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, c engine.Container) (bool, error) {
	env, err := readEnvironment(ctx, h, cfg, n)
	return c.Labels[engine.LabelSpec] != spec(cfg, n, env).Labels[engine.LabelSpec], err
}
