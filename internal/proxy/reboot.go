package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/linger"
	"github.com/kstep/kstep/internal/plan"
)

// Names of containers that exist during a reboot only. A later reboot removes
// what one that was killed left behind.
const (
	trialContainer = plan.ProxyContainer + "_trial"
	nextContainer  = plan.ProxyContainer + "_next"
)

// removeTime bounds the removal of the trial after an interruption.
const removeTime = 3 * time.Second

// Reboot replaces the proxy by one with the settings of the config. Before the
// old one stops, a trial container without published ports proves that Traefik
// starts with these settings and serves every route that is served now. The new
// container is created before the old one stops, so that the host is without a
// proxy only until the new process has loaded its files.
func Reboot(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, pull Pull) (Booted, error) {
	env, err := readEnvironment(ctx, h, cfg, n)
	if err != nil {
		return Booted{}, err
	}
	if _, err := h.Engine().Image(ctx, cfg.Proxy.Image); errors.Is(err, engine.ErrNotFound) {
		if err := pull(ctx, cfg.Proxy.Image); err != nil {
			return Booted{}, err
		}
	} else if err != nil {
		return Booted{}, err
	}
	old, err := h.Engine().Inspect(ctx, plan.ProxyContainer)
	if errors.Is(err, engine.ErrNotFound) {
		if err := discard(ctx, h, nextContainer); err != nil {
			return Booted{}, err
		}
		return boot(ctx, h, cfg, n, env, pull)
	}
	if err != nil {
		return Booted{}, err
	}
	spec := spec(cfg, n, env)
	if err := keep(ctx, h, cfg, n, old, &spec); err != nil {
		return Booted{}, err
	}
	if err := furnish(ctx, h, cfg, n, &spec, old.Labels[engine.LabelProxyAPI]); err != nil {
		return Booted{}, err
	}
	want, err := expect(ctx, h, old, n.RouteDir())
	if err != nil {
		return Booted{}, err
	}
	if _, secure := options(spec.Cmd)["entrypoints.websecure.address"]; !secure {
		want.enabled = slices.DeleteFunc(want.enabled, func(name string) bool { return slices.Contains(secureRouters(), name) })
	}
	if old.Running() {
		if err := try(ctx, h, spec, want); err != nil {
			return Booted{Container: old}, err
		}
	}
	return replace(ctx, h, n, old, spec, want)
}

// try runs the new proxy beside the old one until it serves, and removes it.
func try(ctx context.Context, h host.Host, spec engine.Spec, want expectation) (err error) {
	if err := discard(ctx, h, trialContainer); err != nil {
		return err
	}
	spec.Name, spec.Ports, spec.Restart, spec.Networks = trialContainer, nil, "", nil
	orderNothing(&spec)
	id, err := h.Engine().Create(ctx, spec)
	if err != nil {
		return fmt.Errorf("create trial of the new proxy: %w", err)
	}
	defer func() {
		late, cancel := linger.Context(ctx, removeTime)
		defer cancel()
		err = errors.Join(err, h.Engine().Remove(late, id))
	}()
	if err := h.Engine().Start(ctx, id); err != nil {
		return fmt.Errorf("start trial of the new proxy: %w", err)
	}
	now, err := h.Engine().Inspect(ctx, id)
	if err != nil {
		return err
	}
	if err := serve(ctx, h, now, want); err != nil {
		return exit.Hint(fmt.Errorf("trial of the new settings: %w", err), "the old proxy was not touched and keeps serving")
	}
	return nil
}

// replace exchanges the containers.
func replace(ctx context.Context, h host.Host, n plan.Names, old engine.Container, spec engine.Spec, want expectation) (Booted, error) {
	if err := discard(ctx, h, nextContainer); err != nil {
		return Booted{Container: old}, err
	}
	next := spec
	next.Name = nextContainer
	id, err := h.Engine().Create(ctx, next)
	if err != nil {
		return Booted{Container: old}, fmt.Errorf("create new proxy: %w", err)
	}
	booted := Booted{Container: old}
	if err := inherit(ctx, h, old, engine.Container{ID: id, Networks: spec.Networks}); err != nil {
		return booted, err
	}
	if old.Up() {
		if err := h.Engine().Stop(ctx, old.ID, engine.Stop{}); err != nil {
			return booted, err
		}
		booted.Changed = append(booted.Changed, "stopped the old "+plan.ProxyContainer)
	}
	if err := h.Engine().Remove(ctx, old.ID); err != nil {
		return booted, err
	}
	booted.Container = engine.Container{ID: id}
	if err := h.Engine().Rename(ctx, id, plan.ProxyContainer); err != nil {
		return booted, err
	}
	booted, err = start(ctx, h, n, booted, spec.Ports, &want)
	if err != nil {
		return booted, err
	}
	late, err := Join(ctx, h, booted.Container) // Of a service that was deployed meanwhile.
	booted.Changed = append(booted.Changed, late...)
	return booted, err
}

// inherit connects the next proxy to the networks that the old one is in now: a
// service that is being deployed for the first time has no container in its own yet.
func inherit(ctx context.Context, h host.Host, old, next engine.Container) error {
	now, err := h.Engine().Inspect(ctx, old.ID)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = connect(ctx, h, next, now.Networks)
	}
	return err
}

// discard removes a container that a reboot which was killed left behind.
func discard(ctx context.Context, h host.Host, name string) error {
	left, err := h.Engine().Inspect(ctx, name)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = h.Engine().Remove(ctx, left.ID)
	}
	if err != nil {
		return fmt.Errorf("remove what an interrupted reboot left: %w", err)
	}
	return nil
}
