package accessory

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/network"
)

// networks makes those that the accessory joins, and refuses a further one that is
// not on the host.
func (p Place) networks(ctx context.Context) error {
	seen, err := network.Look(ctx, p.Host, p.Names, network.Needs{
		Further:   p.Accessory.Networks,
		Addresses: p.Accessory.Options.IP != "" || p.Accessory.Options.IP6 != "",
	})
	if err != nil {
		return err
	}
	made, err := network.Make(ctx, p.Host, p.Names, seen)
	for _, name := range made {
		p.Did("made network %s", name)
	}
	return err
}

// join connects a container that is there to the networks that it is not in: one of
// an earlier version of kstep, or one that the run which created it did not get to
// connect.
func (p Place) join(ctx context.Context, c engine.Container, spec engine.Spec) error {
	missing := c.Outside(spec.Networks)
	outside := !slices.Contains(c.Networks, p.Names.Network())
	if !outside && len(missing) == 0 {
		return nil
	}
	if err := p.networks(ctx); err != nil {
		return err
	}
	if outside {
		if err := network.Join(ctx, p.Host, p.Names, c); err != nil {
			return err
		}
		p.Did("connected %s to network %s", c.Name, p.Names.Network())
	}
	for _, name := range missing {
		if err := p.Host.Engine().Connect(ctx, c.ID, name, p.Accessory.Options.NetworkAlias); err != nil {
			return err
		}
		p.Did("connected %s to network %s", c.Name, name)
	}
	return nil
}

// leave removes the service's network once nothing of the service is in it.
func (p Place) leave(ctx context.Context) error {
	released, err := network.Release(ctx, p.Host, p.Names)
	if err == nil && released {
		p.Did("removed network %s", p.Names.Network())
	}
	return err
}
