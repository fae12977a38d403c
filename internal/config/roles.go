package config

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Role finds a role by name.
func (c *Config) Role(name string) (Role, bool) {
	i := slices.IndexFunc(c.Servers.Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return c.Servers.Roles[i], true
}

// Hosts are the hosts of all roles, each once, in the order of the file.
func (c *Config) Hosts() []string {
	var hosts []string
	for _, role := range c.Servers.Roles {
		for _, h := range role.Hosts {
			if !slices.Contains(hosts, h.Name) {
				hosts = append(hosts, h.Name)
			}
		}
	}
	return hosts
}

// Proxied reports whether a role receives traffic: by default only the primary
// one.
func (c *Config) Proxied(role Role) bool {
	if role.Proxy != nil {
		return *role.Proxy
	}
	return role.Name == c.PrimaryRole
}

// EffectiveHealthcheck is the role's health check: its own keys over those of
// the top level. Load has put them together.
func (c *Config) EffectiveHealthcheck(role Role) Healthcheck {
	if role.Healthcheck != nil {
		return *role.Healthcheck
	}
	return c.Healthcheck
}

// EffectiveStop is how the role's containers are stopped: its own keys over
// those of the top level. Load has put them together.
func (c *Config) EffectiveStop(role Role) Stop {
	if role.Stop != nil {
		return *role.Stop
	}
	return c.Stop
}

// EffectiveLogging is the role's logging, else that of the top level. The
// drivers that write files without end are given an end.
func (c *Config) EffectiveLogging(role Role) Logging {
	logging := c.Logging
	if role.Logging != nil {
		logging = *role.Logging
	}
	logging.Options = maps.Clone(logging.Options)
	if (logging.Driver == "json-file" || logging.Driver == "local") && logging.Options["max-size"] == "" {
		if logging.Options == nil {
			logging.Options = map[string]string{}
		}
		logging.Options["max-size"] = "10m"
	}
	return logging
}

// EffectiveLabels are the role's labels over those of the top level.
func (c *Config) EffectiveLabels(role Role) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, c.Labels)
	maps.Copy(labels, role.Labels)
	return labels
}

// EffectiveVolumes are the volumes of the top level and of the role; of two
// with the same target the role's counts.
func (c *Config) EffectiveVolumes(role Role) []string {
	volumes := slices.DeleteFunc(slices.Clone(c.Volumes), func(v string) bool {
		return slices.ContainsFunc(role.Volumes, func(own string) bool { return volumeTarget(own) == volumeTarget(v) })
	})
	return append(volumes, role.Volumes...)
}

// EffectiveNetworks are the further networks of the top level and of the role, each
// once.
func (c *Config) EffectiveNetworks(role Role) []string {
	var all []string
	for _, name := range slices.Concat(c.Networks, role.Networks) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func volumeTarget(volume string) string {
	parts := strings.Split(volume, ":")
	if len(parts) < 2 {
		return volume
	}
	return path.Clean(parts[1])
}

// EffectiveAssetPaths are the role's asset paths, else those of the top level.
func (c *Config) EffectiveAssetPaths(role Role) []string {
	switch {
	case role.AssetPath != "":
		return []string{role.AssetPath}
	case role.AssetPaths != nil:
		return role.AssetPaths
	case c.AssetPath != "":
		return []string{c.AssetPath}
	default:
		return c.AssetPaths
	}
}

// AssetRules are the rules for stable names in those of the asset paths that
// have one.
func (c *Config) AssetRules(paths []string) map[string]string {
	rules := map[string]string{}
	for _, p := range paths {
		if rule := c.Assets[p].OnConflict; rule != "" {
			rules[p] = rule
		}
	}
	return rules
}

// WritableAssets are those of the asset paths that containers may write into.
func (c *Config) WritableAssets(paths []string) map[string]bool {
	writable := map[string]bool{}
	for _, p := range paths {
		if c.Assets[p].Writable {
			writable[p] = true
		}
	}
	return writable
}

// TagEnv is the environment of hosts that carry a tag; nothing for a tag that
// is not declared.
func (c *Config) TagEnv(tag string) Env { return c.Env.Tags[tag] }

// Repository is the image's full name without a tag, such as
// `ghcr.io/acme/shop`; for Docker Hub without its server. That of an image without a
// registry is `localhost/shop`, which no engine looks for elsewhere.
func (c *Config) Repository() string {
	if c.Direct() {
		return "localhost/" + c.Service
	}
	server := c.Registry.Server
	if server == "" || strings.HasPrefix(c.Image, server+"/") {
		return c.Image
	}
	return server + "/" + c.Image
}

// Direct reports that there is no registry: the image is brought to the hosts.
func (c *Config) Direct() bool { return c.Image == "" }

// cleanPaths writes asset paths as engines do, without a slash at the end or twice:
// they are compared with the keys of assets, the targets of volumes and the mounts of
// containers. It does so with the run directory, too.
func (c *Config) cleanPaths() {
	clean := func(one *string, several []string) {
		if *one != "" {
			*one = path.Clean(*one)
		}
		for i := range several {
			several[i] = path.Clean(several[i])
		}
	}
	clean(&c.AssetPath, c.AssetPaths)
	for i := range c.Servers.Roles {
		clean(&c.Servers.Roles[i].AssetPath, c.Servers.Roles[i].AssetPaths)
	}
	for given, rule := range c.Assets {
		if p := path.Clean(given); p != given {
			delete(c.Assets, given)
			c.Assets[p] = rule
		}
	}
	c.RunDirectory = strings.TrimRight(c.RunDirectory, "/")
}
