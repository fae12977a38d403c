package envpush

import (
	"context"
	"maps"
	"slices"

	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// leave is Push for a rollback. It writes nothing and needs no secret:
// containers that start again have the environment that they were made with.
func leave(ctx context.Context, in stages.Input) ([]state.Target, map[string]state.EnvTarget, error) {
	return stages.Each(ctx, in, in.Targets, present)
}

// present is the env file as it is on the host.
func present(ctx context.Context, w *stages.Work) (state.EnvTarget, error) {
	out := state.EnvTarget{File: w.Names.EnvFile(w.Target.Role.Name), Names: []string{}}
	data, err := read(ctx, w, out.File)
	if data == nil || err != nil {
		return out, err
	}
	key, err := envfile.Key(ctx, w.Host.Files(), w.Names.EnvKey())
	if err != nil {
		return out, err
	}
	env, err := envfile.Decode(data)
	if err != nil {
		return out, err
	}
	out.Fingerprint, out.Names = envfile.Fingerprint(key, data), slices.Sorted(maps.Keys(env))
	return out, nil
}
