// Package accessory is what `kstep accessory` does on one host: it makes an
// accessory's container, looks at it, replaces it and takes it away. It never
// decides that a running one has to go: that is for people to say.
package accessory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/network"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/ready"
)

// Place is an accessory on one host.
type Place struct {
	Host      host.Host
	Names     plan.Names
	Config    *config.Config
	Accessory config.Accessory
	// Uploads are the contents of its files.
	Uploads Uploads
	// Pull brings its image to the host.
	Pull func(context.Context) error
	// Did reports each change.
	Did func(format string, args ...any)
}

// Wanted is the container that the configuration describes, with the host's
// environment file. env is false where the host has no such file.
func (p Place) Wanted(ctx context.Context) (spec engine.Spec, env bool, err error) {
	values, fingerprint, err := envfile.Left(ctx, p.Host.Files(), p.Names.EnvFile(plan.AccessoryRole(p.Accessory.Name)), p.Names.EnvKey())
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return engine.Spec{}, false, err
	}
	files := ""
	if len(p.Accessory.Files) > 0 {
		if files, err = p.Uploads.fingerprint(ctx, p); err != nil {
			return engine.Spec{}, false, err
		}
	}
	spec = plan.Accessory(p.Config, p.Names, p.Accessory, fingerprint, files)
	spec.Env = plan.AccessoryEnv(p.Names, p.Accessory, p.Host.Name())
	maps.Copy(spec.Env, values)
	return spec, !missing, nil
}

// ErrNoEnv is an accessory whose environment was never pushed to the host.
var ErrNoEnv = errors.New("its environment is not on the host")

// DifferentError reports that an accessory runs, or waits to be started, with
// other settings than the configuration has.
type DifferentError struct {
	Container string
	// What are the keys that differ.
	What []string
}

func (e *DifferentError) Error() string {
	return fmt.Sprintf("%s was made with other settings than today's: %s", e.Container, strings.Join(e.What, ", "))
}

// Boot makes the accessory run: it makes the container where there is none, and
// starts one that does not run. One with other settings is a *DifferentError, and
// left as it is.
func (p Place) Boot(ctx context.Context) (engine.Container, error) {
	spec, seen, err := p.look(ctx)
	if err != nil {
		return engine.Container{}, err
	}
	if !seen.There {
		return p.create(ctx, spec)
	}
	if seen.Container, err = p.recover(ctx, seen.Container); err != nil {
		return seen.Container, err
	}
	if what := plan.Drift(seen.Container, spec); len(what) > 0 {
		return seen.Container, &DifferentError{seen.Container.Name, what}
	}
	if err := p.join(ctx, seen.Container, spec); err != nil {
		return seen.Container, err
	}
	if err := p.Start(ctx, seen.Container); err != nil {
		return seen.Container, err
	}
	return seen.Container, p.tidy(ctx, spec, seen.Replaced)
}

func (p Place) look(ctx context.Context) (engine.Spec, Seen, error) {
	spec, env, err := p.Wanted(ctx)
	if err == nil && !env {
		err = ErrNoEnv
	}
	if err != nil {
		return spec, Seen{}, err
	}
	seen, err := p.Look(ctx)
	if err == nil && seen.Stranger.ID != "" {
		err = exit.With(exit.BadState, fmt.Errorf("%s is another container's name: %s", p.name(), whose(seen.Stranger)),
			"give it another one with accessories."+p.Accessory.Name+".service, or remove that container")
	}
	return spec, seen, err
}

// recover gives a container its name back that a reboot was killed over.
func (p Place) recover(ctx context.Context, c engine.Container) (engine.Container, error) {
	if !isReplaced(c) {
		return c, nil
	}
	name := plainName(c)
	if err := p.Host.Engine().Rename(ctx, c.ID, name); err != nil {
		return c, err
	}
	c.Name = name
	p.Did("gave %s its name back: a reboot had not come to its end", name)
	return c, nil
}

// Resume starts the container that is there.
func (p Place) Resume(ctx context.Context) error {
	c, err := p.There(ctx)
	if err != nil {
		return err
	}
	if c, err = p.recover(ctx, c); err != nil {
		return err
	}
	if err := p.join(ctx, c, engine.Spec{}); err != nil {
		return err
	}
	return p.Start(ctx, c)
}

// Restart stops the container, and starts it again.
func (p Place) Restart(ctx context.Context) error {
	c, err := p.There(ctx)
	if err != nil {
		return err
	}
	if err := p.Stop(ctx, c); err != nil {
		return err
	}
	return p.Resume(ctx)
}

// Start starts a container that does not run, and waits until it is ready.
func (p Place) Start(ctx context.Context, c engine.Container) error {
	if c.Running() {
		return nil
	}
	if err := p.Host.Engine().Start(ctx, c.ID); err != nil {
		if errors.Is(err, engine.ErrPortTaken) {
			err = exit.Hint(err, "free the port, or set another accessories."+p.Accessory.Name+".port")
		}
		return err
	}
	p.Did("started %s", c.Name)
	return p.await(ctx, c)
}

// settle is how long an accessory that nothing checks must stay up: long enough
// for a missing file or a wrong option to end it.
const settle = config.Duration(time.Second)

// await waits until the image's own health check says healthy or, without one,
// until the container has stayed up for a moment.
func (p Place) await(ctx context.Context, c engine.Container) error {
	limit := p.Config.Barrier.Timeout.D()
	within, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not ready after %s", limit))
	defer cancel()
	_, err := ready.Check{Host: p.Host, Container: c.ID, Health: config.Healthcheck{Settle: settle}}.Wait(within)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if within.Err() != nil {
		err = exit.With(exit.Deadline, context.Cause(within))
	}
	lines := ready.Diagnose(ctx, p.Host, c.ID)
	return fmt.Errorf("%s does not work: %w\n  %s", c.Name, err, strings.Join(lines, "\n  "))
}

// create makes the container and starts it. mounts are of its predecessor.
func (p Place) create(ctx context.Context, spec engine.Spec, mounts ...engine.Mount) (engine.Container, error) {
	c := engine.Container{Name: spec.Name}
	if err := p.prepare(ctx, spec); err != nil {
		return c, err
	}
	id, err := p.make(ctx, spec, mounts)
	if err != nil {
		return c, err
	}
	c.ID = id
	return c, p.Start(ctx, c)
}

// prepare brings everything to the host that the container needs.
func (p Place) prepare(ctx context.Context, spec engine.Spec) error {
	_, err := p.Host.Engine().Image(ctx, spec.Image)
	if errors.Is(err, engine.ErrNotFound) {
		err = p.Pull(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.Uploads.write(ctx, p, spec); err != nil {
		return err
	}
	if err := p.folders(ctx); err != nil {
		return err
	}
	return p.networks(ctx)
}

func (p Place) make(ctx context.Context, spec engine.Spec, mounts []engine.Mount) (string, error) {
	spec.Mounts = slices.Concat(spec.Mounts, mounts)
	old, err := network.Old(ctx, p.Host, p.Names)
	if err != nil {
		return "", err
	}
	if old && !slices.Contains(spec.Networks, plan.Network) { // They go on to find it.
		spec.Networks = append(slices.Clip(spec.Networks), plan.Network)
	}
	id, err := p.Host.Engine().Create(ctx, spec)
	if err == nil {
		p.Did("created %s", spec.Name)
	}
	return id, err
}

// Stop stops a container that runs, or would by itself.
func (p Place) Stop(ctx context.Context, c engine.Container) error {
	if !c.Up() {
		return nil
	}
	if err := p.Host.Engine().Stop(ctx, c.ID, engine.Stop{}); err != nil {
		return err
	}
	p.Did("stopped %s", c.Name)
	return nil
}
