package accessory

import (
	"context"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// Kept is what Remove leaves on a host.
type Kept struct {
	// Directories are folders of the host, Volumes those of the engine.
	Directories, Volumes []string
}

// Remove removes the accessory's containers, its env file and its uploaded
// files; with data also its folders below the run directory and its anonymous
// volumes. Named volumes, and folders elsewhere, always stay.
func (p Place) Remove(ctx context.Context, data bool) (Kept, error) {
	seen, err := p.Look(ctx)
	if err != nil {
		return Kept{}, err
	}
	kept, err := p.Data(ctx, seen, data)
	if err != nil {
		return Kept{}, err
	}
	containers := seen.Replaced
	if seen.There {
		containers = append(containers, seen.Container)
	}
	for _, c := range containers {
		if err := p.Stop(ctx, c); err != nil {
			return kept, err
		}
		remove := p.Host.Engine().RemoveAlone
		if data {
			remove = p.Host.Engine().Remove
		}
		if err := remove(ctx, c.ID); err != nil {
			return kept, err
		}
		p.Did("removed %s", c.Name)
	}
	if err := p.leave(ctx); err != nil {
		return kept, err
	}
	if err := p.removeAll(ctx, host.Inside(p.Names.Folder(), p.Names.EnvFile(plan.AccessoryRole(p.Accessory.Name))), "the env file"); err != nil {
		return kept, err
	}
	if data {
		return kept, p.removeAll(ctx, host.Inside(p.Names.Accessories(), p.Names.AccessoryDir(p.Accessory.Name)), "its folders")
	}
	return kept, p.sweep(ctx, engine.Spec{})
}

// Data is what of the accessory's data is on the host and stays there when it is
// removed, with its data or without.
func (p Place) Data(ctx context.Context, seen Seen, removed bool) (Kept, error) {
	var kept Kept
	for _, m := range p.Accessory.Directories {
		folder := p.Names.AccessoryFolder(p.Accessory.Name, m.Local)
		own := folder != m.Local
		there, err := p.there(ctx, folder)
		if err != nil {
			return kept, err
		}
		if there && !(own && removed) {
			kept.Directories = append(kept.Directories, folder)
		}
	}
	for _, m := range seen.Container.Mounts {
		if m.Source == "" || m.Source[0] == '/' || removed && nameless.MatchString(m.Source) {
			continue
		}
		kept.Volumes = append(kept.Volumes, m.Source)
	}
	return kept, nil
}

// removeAll removes a file, or a folder with all it holds.
func (p Place) removeAll(ctx context.Context, file host.Below, what string) error {
	there, err := p.there(ctx, file.String())
	if err != nil || !there {
		return err
	}
	if err := p.Host.Files().RemoveTree(ctx, file); err != nil {
		return err
	}
	p.Did("removed %s", what)
	return nil
}
