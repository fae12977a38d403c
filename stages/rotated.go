package stages

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/plan"
)

// rotate finds out, for each version that the target could start again as it was,
// which of the role's secrets have another value on the host now than its
// containers were made with: an old password may not work any more.
func (s Sight) rotate(ctx context.Context, w *Work) error {
	var names []string
	for _, entry := range w.Target.Env.Secret {
		name, _ := plan.SplitSecret(entry)
		names = append(names, name)
	}
	retained := s.Retained()
	if len(names) == 0 || len(retained) == 0 {
		return nil
	}
	data, err := w.Host.Files().Read(ctx, w.Names.EnvFile(w.Target.Role.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := envfile.Decode(data)
	if err != nil {
		return nil //nolint:nilerr // A broken file shows nothing: env-push reports it.
	}
	made := make([][]string, len(retained))
	errs := make([]error, len(retained))
	var wg sync.WaitGroup
	for i, version := range retained {
		wg.Go(func() {
			c, err := w.Host.Engine().Inspect(ctx, w.Names.Replica(w.Target.Role.Name, version, 1))
			if errors.Is(err, engine.ErrNotFound) {
				return // Pruned at this moment.
			}
			made[i], errs[i] = c.Env, err
		})
	}
	wg.Wait()
	for i, version := range retained {
		one := s.past[version]
		one.rotated = rotated(names, made[i], now)
		s.past[version] = one
	}
	return errors.Join(errs...)
}

// rotated are those of the variables that a container has with another value than
// the env file. It looks at values and returns names.
func rotated(names, made []string, now map[string]string) (others []string) {
	for _, variable := range made {
		name, value, _ := strings.Cut(variable, "=")
		if current, there := now[name]; there && current != value && slices.Contains(names, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return others
}
