package accessory

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/linger"
	"github.com/kstep/kstep/internal/plan"
)

// Reboot replaces the accessory's container by one with today's settings. What
// it needs is on the host before the old one stops. If the new one cannot even
// be started, the old one runs again.
func (p Place) Reboot(ctx context.Context) (engine.Container, error) {
	spec, seen, err := p.look(ctx)
	if err != nil {
		return seen.Container, err
	}
	if !seen.There {
		return p.create(ctx, spec)
	}
	if err := p.prepare(ctx, spec); err != nil {
		return seen.Container, err
	}
	old := seen.Container
	if err := p.Stop(ctx, old); err != nil {
		return old, err
	}
	if !isReplaced(old) {
		if err := p.Host.Engine().Rename(ctx, old.ID, plan.Replaced(old.Name, old.ID)); err != nil {
			return old, err
		}
	}
	fresh := engine.Container{Name: spec.Name}
	if fresh.ID, err = p.make(ctx, spec, inherited(old, spec)); err == nil {
		err = p.Start(ctx, fresh)
	}
	if err != nil {
		return fresh, p.back(ctx, fresh, old, err)
	}
	return fresh, p.tidy(ctx, spec, append(seen.Replaced, old))
}

// backTime bounds the way back after an interruption.
const backTime = 30 * time.Second

// back makes the old container run again, for the reason why the new one does
// not. There is no way back for one that has begun to work on what is in its
// folders.
func (p Place) back(ctx context.Context, fresh, old engine.Container, reason error) error {
	ctx, cancel := linger.Context(ctx, backTime)
	defer cancel()
	if fresh.ID != "" {
		now, err := p.Host.Engine().Inspect(ctx, fresh.ID)
		if err != nil || !now.Started.IsZero() {
			return errors.Join(reason, err)
		}
		if err := p.Host.Engine().RemoveAlone(ctx, fresh.ID); err != nil {
			return errors.Join(reason, err)
		}
	}
	name := plainName(old)
	if err := p.Host.Engine().Rename(ctx, old.ID, name); err != nil {
		return errors.Join(reason, err)
	}
	if err := p.Host.Engine().Start(ctx, old.ID); err != nil {
		return errors.Join(reason, err)
	}
	p.Did("started the old %s again", name)
	return fmt.Errorf("%w (the old %s runs again)", reason, name)
}

// nameless matches the names that engines give to anonymous volumes.
var nameless = regexp.MustCompile(`^[0-9a-f]{64}$`)

// inherited are the volumes without a name that the old container had for what
// its image keeps, and that the new one would get afresh, empty.
func inherited(old engine.Container, spec engine.Spec) []engine.Mount {
	return slices.DeleteFunc(slices.Clone(old.Mounts), func(m engine.Mount) bool {
		return !nameless.MatchString(m.Source) || slices.ContainsFunc(spec.Mounts, func(o engine.Mount) bool { return o.Target == m.Target })
	})
}

// tidy removes the containers that made room, and the uploaded files that no
// container has any more. All volumes stay.
func (p Place) tidy(ctx context.Context, spec engine.Spec, replaced []engine.Container) error {
	for _, c := range replaced {
		if err := p.Host.Engine().RemoveAlone(ctx, c.ID); err != nil {
			return err
		}
		p.Did("removed the old %s", plainName(c))
	}
	return p.sweep(ctx, spec)
}
