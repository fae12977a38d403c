// Package envpush is the stage that writes each role's environment to its
// hosts, one file with mode 0600 for each (S9). It is the only stage that
// needs the application's secrets.
package envpush

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `env-push`; `kstep env push` and `kstep env delete` do parts of its
// work by hand.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "env-push",
		Summary: "write the roles' environments to the hosts",
		Reads:   []string{"push"},
		Hosts:   true,
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	image, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if err != nil {
		return stages.Result{}, err
	}
	push := Push
	if image.Retained {
		push = leave
	}
	records, results, err := push(ctx, in)
	return stages.Result{Targets: records, Outputs: state.EnvPushOutputs{Targets: results}}, err
}

// Push writes the environments of the input's targets, and removes those of
// roles that have left a host. Every environment is put together before the
// first request to a host, so that a missing secret changes nothing anywhere.
// It needs nothing but configuration and secrets, so it also works outside of a
// release.
func Push(ctx context.Context, in stages.Input) ([]state.Target, map[string]state.EnvTarget, error) {
	all := slices.Concat(in.Targets, proxies(in))
	look := func(plan.Target) lookup { return atHand(in.Secrets) }
	if in.Options.HostSecrets {
		records, left, err := stages.Each(ctx, in, all, leftBehind)
		if err != nil {
			return records, nil, err
		}
		look = func(t plan.Target) lookup { return onHost(t, left[t.Key()], in.Secrets) }
	}
	files, names, err := assemble(all, look)
	if err != nil {
		return nil, nil, err
	}
	var own certificates
	if !in.Options.HostSecrets { // Else those on the hosts stay.
		if own, err = ownCertificates(in); err != nil {
			return nil, nil, err
		}
	}
	records, results, err := stages.Each(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (state.EnvTarget, error) {
		out, err := write(ctx, w, w.Target.EnvRole(), files[w.Target.Key()])
		out.Names = names[w.Target.Key()]
		if err != nil || !first(in.Targets, w.Target) {
			return out, err
		}
		if data, there := files[state.Key(plan.ProxyRole, w.Target.Host)]; there {
			if _, err := write(ctx, w, plan.ProxyRole, data); err != nil {
				return out, err
			}
		}
		if err := writeCertificates(ctx, in, w, own); err != nil {
			return out, err
		}
		return out, sweep(ctx, in, w)
	})
	return records, results, err
}

// assemble puts the targets' env files together, and the names that are in them.
func assemble(targets []plan.Target, look func(plan.Target) lookup) (files map[string][]byte, names map[string][]string, err error) {
	files, names = map[string][]byte{}, map[string][]string{}
	var errs []error
	for _, t := range targets {
		env, err := resolve(t.Env, look(t))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := fits(t, env); err != nil {
			errs = append(errs, err)
			continue
		}
		data, err := envfile.Encode(env)
		if err != nil {
			errs = append(errs, exit.With(exit.Config, fmt.Errorf("env of %s: %w", t.Key(), err)))
			continue
		}
		files[t.Key()], names[t.Key()] = data, slices.Sorted(maps.Keys(env))
	}
	return files, names, distinct(errs)
}

// fits refuses variables that no process could be started with. The values of
// secrets are known only here.
func fits(t plan.Target, env map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if err := config.VariableFits(name, env[name]); err != nil {
			errs = append(errs, exit.With(exit.Config, fmt.Errorf("env of %s: %s %w", t.Role.Name, name, err)))
		}
	}
	return errors.Join(errs...)
}

// proxies are the proxies of the targets' hosts as targets, as far as the config
// has an environment for them.
func proxies(in stages.Input) []plan.Target {
	var all []plan.Target
	for _, t := range in.Targets {
		seen := slices.ContainsFunc(all, func(o plan.Target) bool { return o.Host == t.Host })
		if t.Proxied && !seen && !in.Config.Proxy.Env.IsEmpty() {
			all = append(all, plan.Target{Host: t.Host, Role: config.Role{Name: plan.ProxyRole}, Env: in.Config.Proxy.Env})
		}
	}
	return all
}

// first reports whether t is the first target of its host, which stands for the host.
func first(targets []plan.Target, t plan.Target) bool {
	at := slices.IndexFunc(targets, func(o plan.Target) bool { return o.Host == t.Host })
	return targets[at].Key() == t.Key()
}

// distinct joins errors, each text once: all hosts of a role miss the same
// secret.
func distinct(errs []error) error {
	var each []error // Those of several roles have secrets in common.
	for _, err := range errs {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			each = append(each, joined.Unwrap()...)
		} else {
			each = append(each, err)
		}
	}
	seen := map[string]bool{}
	return errors.Join(slices.DeleteFunc(each, func(err error) bool {
		again := seen[err.Error()]
		seen[err.Error()] = true
		return again
	})...)
}

// lookup finds the value of a variable that is read from a secret.
type lookup func(variable, source string) (secret.Value, error)

func atHand(secrets *secret.Store) lookup {
	return func(_, source string) (secret.Value, error) { return secrets.Get(source) }
}

// onHost takes the values that the last push left in the target's env file.
func onHost(t plan.Target, left map[string]string, secrets *secret.Store) lookup {
	return func(variable, source string) (secret.Value, error) {
		text, there := left[variable]
		if !there {
			return secret.Value{}, exit.With(exit.Config, fmt.Errorf("%s has no value of %s for %s %s yet", t.Host, variable, kind(t), t.Role.Name),
				"run kstep env push once, where the secrets are")
		}
		value := secret.NewValue(text)
		secrets.Add(source, value)
		return value, nil
	}
}

func kind(t plan.Target) string {
	if t.Accessory {
		return "accessory"
	}
	return "role"
}

// leftBehind are the variables in the target's env file.
func leftBehind(ctx context.Context, w *stages.Work) (map[string]string, error) {
	data, err := read(ctx, w, w.Names.EnvFile(w.Target.EnvRole()))
	if err != nil || data == nil {
		return nil, err
	}
	return envfile.Decode(data)
}

// resolve puts a target's clear and secret values together.
func resolve(env config.Env, look lookup) (map[string]string, error) {
	all := maps.Clone(env.Clear)
	if all == nil {
		all = map[string]string{}
	}
	var errs []error
	for _, entry := range env.Secret {
		name, source := plan.SplitSecret(entry)
		value, err := look(name, source)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[name] = value.Reveal()
	}
	return all, errors.Join(errs...)
}

func write(ctx context.Context, w *stages.Work, role string, data []byte) (state.EnvTarget, error) {
	book, err := w.Guarded(ctx)
	if err != nil {
		return state.EnvTarget{}, err
	}
	if book.Service == "" { // By hand, before the first release.
		if err := w.Note(ctx, func(*ledger.Ledger) bool { return false }); err != nil {
			return state.EnvTarget{}, err
		}
	}
	key, err := envfile.Key(ctx, w.Host.Files(), w.Names.EnvKey())
	if err != nil {
		return state.EnvTarget{}, err
	}
	out := state.EnvTarget{
		File:        w.Names.EnvFile(role),
		Fingerprint: envfile.Fingerprint(key, data),
	}
	have, err := read(ctx, w, out.File)
	if err != nil || bytes.Equal(have, data) {
		return out, err
	}
	if err := w.Host.Files().Write(ctx, out.File, data, 0o600); err != nil {
		return out, err
	}
	w.Made(writing(role))
	return out, nil
}

// read returns the env file that the host has, or nothing.
func read(ctx context.Context, w *stages.Work, file string) ([]byte, error) {
	have, err := w.Host.Files().Read(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return have, err
}

func writing(role string) stages.Act {
	if name, ok := plan.AccessoryOf(role); ok {
		return stages.To(stages.Write, "env file of the accessory %s", name)
	}
	if role == plan.ProxyRole {
		return stages.To(stages.Write, "env file of the proxy")
	}
	return stages.To(stages.Write, "env file")
}
