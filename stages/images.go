package stages

import (
	"context"
	"errors"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/ledger"
)

// Uses reports whether the container, of whatever service, needs that name of the
// release's image. Containers have their image by digest; its tag belongs to
// their version.
func Uses(c engine.Container, r ledger.Release, ref string) bool {
	return c.Image == ref || c.Image == r.Image && c.Labels[engine.LabelVersion] == r.Version
}

// ImagesNamed are those of the names that images of the host have: a run may have
// been killed before it could write down that it removed some.
func (w *Work) ImagesNamed(ctx context.Context, refs []string) ([]string, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	all, err := w.Host.Engine().Images(ctx, engine.Filter{})
	return slices.DeleteFunc(refs, func(ref string) bool {
		return !slices.ContainsFunc(all, func(i engine.Image) bool { return i.Named(ref) })
	}), err
}

// RemoveImages takes the names away from the host's images, unless a container
// needs them. It returns those it took, also with an error.
func (w *Work) RemoveImages(ctx context.Context, refs []string) (removed []string, err error) {
	there, err := w.ImagesNamed(ctx, refs)
	if err != nil {
		return nil, err
	}
	for _, ref := range there {
		err := w.Host.Engine().RemoveImage(ctx, ref)
		if errors.Is(err, engine.ErrConflict) {
			continue // In use after all: another job's container.
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, ref)
		w.Made(RemoveImage(ref))
	}
	return removed, nil
}

// RemoveImage is the act of RemoveImages.
func RemoveImage(ref string) Act { return To(Remove, "image %s", ref) }
