package envpush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner. It shows names of variables, never values. A
// secret that is not there is no failure: a plan needs no secrets.
func (Stage) Plan(ctx context.Context, in stages.Input, ahead *stages.Outlook) (stages.Forecast, error) {
	push, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if err != nil {
		return stages.Forecast{}, err
	}
	if push.Retained {
		targets, results, err := stages.Foresee(ctx, in, in.Targets, present)
		return stages.Forecast{Pending: targets, Outputs: state.EnvPushOutputs{Targets: results}}, err
	}
	own, err := state.OwnOutputs[state.EnvPushOutputs](in.Own)
	if err != nil {
		return stages.Forecast{}, err
	}
	targets, results, err := stages.Foresee(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.EnvTarget, error) {
		if _, err := w.Guarded(ctx); err != nil {
			return state.EnvTarget{}, err
		}
		want, err := wanted(w.Target, in.Secrets)
		if err != nil {
			return state.EnvTarget{}, err
		}
		out, err := foresee(ctx, w, want, own.Targets[w.Target.Key()], ahead)
		if err == nil && first(in.Targets, w.Target) {
			err = errors.Join(foreseeProxy(ctx, in, w), foreseeCertificates(ctx, in, w), foreseeSweep(ctx, in, w))
		}
		return out, err
	})
	return stages.Forecast{Pending: targets, Outputs: state.EnvPushOutputs{Targets: results}}, err
}

// want is an environment as far as it can be put together here.
type want struct {
	values  map[string]string
	missing []string // Variables whose secret is not here.
	data    []byte   // The whole file, if nothing is missing.
}

func wanted(t plan.Target, secrets *secret.Store) (want, error) {
	env := t.Env
	var missing []string
	env.Secret = slices.DeleteFunc(slices.Clone(env.Secret), func(entry string) bool {
		name, source := plan.SplitSecret(entry)
		_, err := secrets.Get(source)
		if err != nil {
			missing = append(missing, name)
		}
		return err != nil
	})
	values, err := resolve(env, atHand(secrets))
	if err != nil {
		return want{}, err
	}
	data, err := envfile.Encode(values)
	if err != nil {
		return want{}, exit.With(exit.Config, fmt.Errorf("env of %s: %w", t.Key(), err))
	}
	if len(missing) > 0 {
		data = nil
	}
	return want{values, missing, data}, nil
}

// foresee compares the environment with the host's file, and derives the
// fingerprint that the file will have.
func foresee(ctx context.Context, w *stages.Work, want want, own state.EnvTarget, ahead *stages.Outlook) (state.EnvTarget, error) {
	out := state.EnvTarget{File: w.Names.EnvFile(w.Target.Role.Name), Names: names(want)}
	data, err := read(ctx, w, out.File)
	if err != nil {
		return out, err
	}
	key, err := envfile.Find(ctx, w.Host.Files(), w.Names.EnvKey())
	if err != nil {
		return out, err
	}
	have, broken := envfile.Decode(data)
	detail := compare(have, want)
	changes := data == nil || broken != nil || len(detail) > 0
	if want.data != nil {
		changes = !bytes.Equal(data, want.data)
	}
	if len(want.missing) > 0 {
		w.Wonder(fmt.Sprintf("the value of %s: not available here", strings.Join(want.missing, ", ")))
	}
	switch {
	case changes && want.data == nil: // Not to be foreseen.
		ahead.Env(w.Target, "")
	case key == nil:
		ahead.Env(w.Target, "")
	case want.data != nil:
		out.Fingerprint = envfile.Fingerprint(key, want.data)
		ahead.Env(w.Target, out.Fingerprint)
	case own.File == out.File: // Of this release already.
		out.Fingerprint = own.Fingerprint
		ahead.Env(w.Target, "")
	default:
		out.Fingerprint = envfile.Fingerprint(key, data)
		ahead.Env(w.Target, "")
	}
	if changes {
		act := writing(w.Target.Role.Name)
		act.Detail = detail
		w.Intend(act)
	}
	return out, nil
}

// foreseeProxy compares the environment of the host's proxy.
func foreseeProxy(ctx context.Context, in stages.Input, w *stages.Work) error {
	for _, t := range proxies(in) {
		if t.Host != w.Target.Host {
			continue
		}
		want, err := wanted(t, in.Secrets)
		if err != nil {
			return err
		}
		have, err := read(ctx, w, w.Names.EnvFile(plan.ProxyRole))
		if err != nil {
			return err
		}
		old, broken := envfile.Decode(have)
		act := writing(plan.ProxyRole)
		if act.Detail = compare(old, want); have == nil || broken != nil || len(act.Detail) > 0 {
			w.Intend(act)
		}
	}
	return nil
}

func foreseeSweep(ctx context.Context, in stages.Input, w *stages.Work) error {
	gone, err := departed(ctx, in, w)
	for _, role := range gone {
		w.Intend(removing(role))
	}
	return err
}

func names(want want) []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(want.values)), want.missing...)))
}

// compare returns which variables come, go, or have another value.
func compare(have map[string]string, want want) []string {
	var lines []string
	all := names(want)
	for _, name := range all {
		old, had := have[name]
		now, known := want.values[name]
		switch {
		case !had:
			lines = append(lines, state.MarkAdd+" "+name)
		case known && now != old:
			lines = append(lines, state.MarkChange+" "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !slices.Contains(all, name) {
			lines = append(lines, state.MarkRemove+" "+name)
		}
	}
	return lines
}
