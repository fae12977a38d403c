// Package plan turns what the user wants into targets, names and container
// specs. It is pure: no files, no hosts, no clock.
package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
)

// Target is one role on one host: the unit that host stages work on.
type Target struct {
	Host string
	Role config.Role
	// Accessory is set for an accessory, which is no role; Role then has only its
	// name.
	Accessory bool
	// Primary is set if the role opens the barrier.
	Primary bool
	// Proxied is set if the role receives traffic.
	Proxied bool
	// Lease is set if the host has the lease, whatever the primary role is.
	Lease bool
	// Env is the merged environment: top level, role, then the host's tags in
	// listed order.
	Env config.Env
}

// Key names the target in state files and messages: `web@10.0.0.1`.
func (t Target) Key() string { return state.Key(t.Role.Name, t.Host) }

// Targets are all roles on all their hosts, in the order of the config.
func Targets(cfg *config.Config) []Target {
	var targets []Target
	for _, role := range cfg.Servers.Roles {
		for _, host := range role.Hosts {
			targets = append(targets, Target{
				Host:    host.Name,
				Role:    role,
				Primary: role.Name == cfg.PrimaryRole,
				Proxied: cfg.Proxied(role),
				Lease:   host.Name == cfg.LeaseHost,
				Env:     mergeEnv(cfg, role, host),
			})
		}
	}
	return targets
}

// Accessories are all accessories on all their hosts, in the order of the
// config.
func Accessories(cfg *config.Config) []Target {
	var targets []Target
	for _, a := range cfg.Accessories.All {
		for _, host := range cfg.AccessoryHosts(a) {
			targets = append(targets, Target{Host: host, Role: config.Role{Name: a.Name}, Accessory: true, Env: a.Env})
		}
	}
	return targets
}

// EnvRole names the target where env files are.
func (t Target) EnvRole() string {
	if t.Accessory {
		return AccessoryRole(t.Role.Name)
	}
	return t.Role.Name
}

// mergeEnv puts the layers of a host's environment over each other. A later
// layer's secret replaces an earlier layer's clear value of the same name and
// the other way round: what counts is the layer, not the kind.
func mergeEnv(cfg *config.Config, role config.Role, host config.Host) config.Env {
	layers := []config.Env{cfg.Env, role.Env}
	for _, tag := range host.Tags {
		layers = append(layers, cfg.TagEnv(tag))
	}
	clear := map[string]string{}
	secrets := map[string]string{}
	for _, layer := range layers {
		for name, value := range layer.Clear {
			clear[name] = value
			delete(secrets, name)
		}
		for _, entry := range layer.Secret {
			name, _ := SplitSecret(entry)
			secrets[name] = entry
			delete(clear, name)
		}
	}
	merged := config.Env{Clear: clear}
	for _, entry := range secrets {
		merged.Secret = append(merged.Secret, entry)
	}
	slices.Sort(merged.Secret)
	return merged
}

// SplitSecret splits `NAME:SECRET` into the variable and the secret it is read
// from; without a colon both are the same.
func SplitSecret(entry string) (name, secret string) {
	name, secret, aliased := strings.Cut(entry, ":")
	if !aliased {
		return entry, entry
	}
	return name, secret
}

// Filter keeps the targets whose role and host match one of the globs (path.Match
// syntax); no globs match all. A glob that matches nothing is an error: a typo
// must not turn a deploy into a no-op.
func Filter(targets []Target, roles, hosts []string) ([]Target, error) {
	kept := targets
	for _, f := range []struct {
		what  string
		globs []string
		field func(Target) string
	}{
		{"role", roles, func(t Target) string { return t.Role.Name }},
		{"host", hosts, func(t Target) string { return t.Host }},
	} {
		if len(f.globs) == 0 {
			continue
		}
		for _, glob := range f.globs {
			found := slices.ContainsFunc(targets, func(t Target) bool { return matches(glob, f.field(t)) })
			if _, err := path.Match(glob, ""); err != nil && !found {
				return nil, exit.Errorf(exit.Usage, "--%ss %q: %w", f.what, glob, err)
			}
			if !found {
				return nil, exit.With(exit.Usage, fmt.Errorf("--%ss %q matches no %s", f.what, glob, f.what),
					"known are: "+strings.Join(distinct(targets, f.field), ", "))
			}
		}
		kept = slices.DeleteFunc(slices.Clone(kept), func(t Target) bool {
			return !slices.ContainsFunc(f.globs, func(glob string) bool { return matches(glob, f.field(t)) })
		})
	}
	if len(kept) == 0 {
		return nil, exit.Errorf(exit.Usage, "no role runs on the hosts that the filters leave")
	}
	return kept, nil
}

// matches reports whether a text is what a glob says, or matches it. The brackets of
// an IPv6 address are a class of characters in a glob.
func matches(glob, text string) bool {
	ok, _ := path.Match(glob, text)
	return ok || glob == text
}

// Shard names the part of the targets that filters leave, for state files; all
// of them have no name.
func Shard(roles, hosts []string) string {
	var parts []string
	if len(roles) > 0 {
		parts = append(parts, strings.Join(roles, "+"))
	}
	if len(hosts) > 0 {
		parts = append(parts, strings.Join(hosts, "+"))
	}
	return strings.Join(parts, "@")
}

// HostNames are the targets' hosts, each once, in order.
func HostNames(targets []Target) []string {
	return distinct(targets, func(t Target) string { return t.Host })
}

// Keys are the targets' keys, in order.
func Keys(targets []Target) []string {
	keys := make([]string, len(targets))
	for i, t := range targets {
		keys[i] = t.Key()
	}
	return keys
}

// LeaseHost is the host that holds the lease and the barrier's verdict: the
// first primary host of the unfiltered config, so that every shard of a release
// uses the same one.
func LeaseHost(all []Target) string {
	for _, holds := range []func(Target) bool{
		func(t Target) bool { return t.Lease },
		func(t Target) bool { return t.Primary },
	} {
		if i := slices.IndexFunc(all, holds); i >= 0 {
			return all[i].Host
		}
	}
	return all[0].Host
}

// Successor is the target that takes over from a role that is no longer in the
// configuration of the host: every job of a release finds the same one. A role
// with traffic is replaced by one with traffic where there is one, and the
// primary role comes first. A role without traffic is replaced by one whose
// containers must not overlap with others, if there is one.
func Successor(all []Target, host string, proxied bool) (Target, bool) {
	ranks := []func(Target) bool{
		func(t Target) bool { return !proxied && t.Role.Start == "after-barrier" },
		func(t Target) bool { return t.Primary && t.Proxied },
		func(t Target) bool { return t.Proxied },
		func(t Target) bool { return t.Primary },
		func(Target) bool { return true },
	}
	for _, rank := range ranks {
		if i := slices.IndexFunc(all, func(t Target) bool { return t.Host == host && rank(t) }); i >= 0 {
			return all[i], true
		}
	}
	return Target{}, false
}

// IsTarget reports whether one of the targets is the role on the host.
func IsTarget(all []Target, role, host string) bool {
	return slices.ContainsFunc(all, func(t Target) bool { return t.Role.Name == role && t.Host == host })
}

func distinct(targets []Target, field func(Target) string) []string {
	var values []string
	for _, t := range targets {
		if v := field(t); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}
