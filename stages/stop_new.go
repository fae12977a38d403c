package stages

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/engine"
)

// StopNew takes down those of a target's new containers that do not serve. One
// that has ended by itself must not come back either.
func StopNew(ctx context.Context, in Input, w *Work, ids []string) error {
	var down []engine.Container
	for _, id := range ids {
		c, err := Stated(ctx, in, w, id)
		if errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		serving, err := Serving(ctx, in, w, c)
		if err != nil {
			return err
		}
		if !serving && c.State != "created" && (c.State != "exited" || c.Restart != engine.RestartNo) {
			down = append(down, c)
		}
	}
	if err := StopUnserved(ctx, in, w, down); err != nil {
		return fmt.Errorf("new container %w", err)
	}
	for _, c := range down {
		if c.State != "exited" {
			w.Did("stopped %s", c.Name)
		}
	}
	return nil
}

// StopBooted is StopNew for all that the release has made for a target, where no
// state file shows what that is.
func StopBooted(ctx context.Context, in Input, w *Work) error {
	labels := RoleLabels(in.Config, w.Target.Role.Name)
	labels[engine.LabelRelease] = in.Release
	made, err := w.Host.Engine().Containers(ctx, engine.Filter{Labels: labels})
	if err != nil {
		return err
	}
	return StopNew(ctx, in, w, engine.IDs(made))
}
