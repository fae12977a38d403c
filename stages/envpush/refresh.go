package envpush

import (
	"context"
	"errors"

	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Refresh is Push for accessories that are about to be made. Once pushed, their
// secrets need not be at hand. It writes nothing anywhere if a secret is
// neither at hand nor on the host.
func Refresh(ctx context.Context, in stages.Input) ([]state.Target, error) {
	records, left, err := stages.Each(ctx, in, in.Targets, leftBehind)
	if err != nil {
		return records, err
	}
	files, _, err := assemble(in.Targets, func(t plan.Target) lookup { return atHandOrLeft(left[t.Key()], in.Secrets) })
	if err != nil {
		return nil, err
	}
	records, _, err = stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.EnvTarget, error) {
		return write(ctx, w, w.Target.EnvRole(), files[w.Target.Key()])
	})
	return records, err
}

func atHandOrLeft(left map[string]string, secrets *secret.Store) lookup {
	return func(variable, source string) (secret.Value, error) {
		value, err := secrets.Get(source)
		text, there := left[variable]
		if !there || !errors.Is(err, secret.ErrMissing) {
			return value, err
		}
		value = secret.NewValue(text)
		secrets.Add(source, value)
		return value, nil
	}
}
