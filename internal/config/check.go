package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/runopt"
	"github.com/kstep/kstep/schema"
)

func itoa(i int) string { return strconv.Itoa(i) }

// semantics checks what a schema cannot say.
func (c *checker) semantics(kstepVersion string) {
	c.minimumVersion(kstepVersion)
	if c.cfg.RequireDestination && c.cfg.Destination == "" {
		c.at([]string{"require_destination"}, "no destination is given; name one with -d")
	}
	c.roles()
	c.lengths()
	c.volumes([]string{"volumes"}, c.cfg.Volumes)
	c.networks([]string{"networks"}, c.cfg.Networks)
	c.tags()
	c.assets(nil, c.cfg.AssetPath, c.cfg.AssetPaths)
	c.assetRules()
	c.environments()
	c.tasks()
	c.accessories()
	c.rollout()
	c.traffic()
	c.stop([]string{"stop"}, c.cfg.Stop)
	c.labels([]string{"labels"}, c.cfg.Labels)
	c.routedByLabels([]string{"labels"}, c.cfg.Labels)
	c.labels([]string{"proxy", "labels"}, c.cfg.Proxy.Labels)
	c.proxyArgs()
	c.trustedProxies()
	c.tls()
	c.middlewares()
	c.registries()
	c.leaks()
}

func (c *checker) roles() {
	roles := c.cfg.Servers.Roles
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = role.Name
		segs := []string{"servers", role.Name}
		below := func(keys ...string) []string { return append(slices.Clip(segs), keys...) }
		primary := role.Name == c.cfg.PrimaryRole
		switch {
		case len(role.Hosts) > 0:
		case primary:
			c.at(below("hosts"), "the primary role needs at least one host")
		case !c.cfg.AllowEmptyRoles:
			c.at(below("hosts"), "has no hosts; list some, or set allow_empty_roles: true")
		}
		if role.Start == "after-barrier" {
			switch {
			case c.cfg.Proxied(role):
				c.at(below("start"), "a role with traffic must start with-boot: stopping the old container first would lose requests")
			case primary:
				c.at(below("start"), "the primary role opens the barrier, so it must start with-boot")
			}
		}
		c.assets(segs, role.AssetPath, role.AssetPaths)
		c.labels(below("labels"), role.Labels)
		c.routedByLabels(below("labels"), role.Labels)
		c.volumes(below("volumes"), role.Volumes)
		c.networks(below("networks"), role.Networks)
		c.overAssets(role)
		c.options(below("options"), role)
		if role.Stop != nil {
			c.stop(below("stop"), *role.Stop)
		}
		if role.Healthcheck != nil {
			c.healthcheck(below("healthcheck"), *role.Healthcheck)
		}
		if c.cfg.Proxied(role) {
			c.trafficCheck(below("healthcheck"), c.cfg.EffectiveHealthcheck(role))
		}
	}
	if _, ok := c.cfg.Role(c.cfg.PrimaryRole); !ok && !c.isBroken("servers") {
		segs := []string{"primary_role"}
		c.at(segs, "%s", c.unknown(segs, "role", c.cfg.PrimaryRole, names))
	}
	if c.cfg.Proxy.Switch == "cord" && !slices.ContainsFunc(roles, c.cfg.Proxied) && !c.isBroken("servers") {
		c.at([]string{"proxy", "switch"}, "cord needs a role with traffic; set proxy: true on one")
	}
}

// isBroken reports whether the schema refused anything below key.
func (c *checker) isBroken(key string) bool {
	return slices.ContainsFunc(c.broken, func(b []string) bool { return len(b) == 0 || b[0] == key })
}

// unknown names what was not found at segs and what the writer may have meant.
// A text that a variable was filled into is not repeated: it may be a secret.
func (c *checker) unknown(segs []string, what, name string, known []string) string {
	message := fmt.Sprintf("unknown %s %q", what, name)
	if n := c.tree.find(segs); n != nil && n.vars != nil {
		message = fmt.Sprintf("unknown %s in %s", what, n.raw)
	}
	if closest, ok := schema.Closest(name, known); ok {
		return fmt.Sprintf("%s; did you mean %q?", message, closest)
	}
	switch {
	case len(known) == 0:
		return message + "; none is declared"
	case len(known) > 12: // Too many to list.
		return message
	}
	return message + "; known are " + strings.Join(known, ", ")
}

// tags holds the hosts' tags against the declared ones.
func (c *checker) tags() {
	if slices.ContainsFunc(c.broken, func(b []string) bool { return len(b) == 0 || b[0] == "env" || b[0] == "env_tags" }) {
		return
	}
	known := slices.Sorted(maps.Keys(c.cfg.Env.Tags))
	c.tree.walk(func(segs []string, n *node) {
		if n.kind != scalar || !(matches("servers.*.hosts.*.*", segs) || matches("servers.*.hosts.*.*.*", segs)) {
			return
		}
		if !slices.Contains(known, n.text) {
			// Named by the host entry, as in the list it stands in.
			at, _ := c.tree.spot(segs, false)
			_, path := c.tree.spot(segs[:4], false)
			c.problems = append(c.problems, Problem{
				File: at.file, Line: at.line, Column: at.column, Path: path, Message: c.unknown(segs, "tag", n.text, known),
			})
		}
	})
}

// assetRules holds the rules against the asset paths that there are.
func (c *checker) assetRules() {
	known := c.cfg.EffectiveAssetPaths(Role{})
	for _, role := range c.cfg.Servers.Roles {
		known = append(slices.Clip(known), c.cfg.EffectiveAssetPaths(role)...)
	}
	slices.Sort(known)
	for p := range c.cfg.Assets {
		if !slices.Contains(known, p) {
			segs := []string{"assets", p}
			c.atKey(segs, "%s", c.unknown(segs, "asset path", p, slices.Compact(slices.Clone(known))))
		}
	}
}

// runOptions checks what the engine would refuse.
func (c *checker) runOptions(segs []string, options runopt.Options) {
	for _, p := range options.Check() {
		c.at(c.entry(segs, p.Key, p.Index), "%s", p.Message)
	}
}

// entry is the place of an entry of a list that may be written without one.
func (c *checker) entry(segs []string, key string, i int) []string {
	at := append(slices.Clip(segs), key)
	if n := c.tree.find(at); n != nil && n.kind == list {
		at = append(at, itoa(i))
	}
	return at
}

// options checks a role's, and what could be done only for one of the containers
// that it has on a host: its replicas, and in a deploy the old ones beside the
// new.
func (c *checker) options(segs []string, role Role) {
	c.runOptions(segs, role.Options)
	for _, key := range role.Options.Single() {
		c.single(append(slices.Clip(segs), key), role, "this address", "leave it out", "a role with traffic takes what the engine gives it")
	}
	if i, fixed := role.Options.FixedPort(); fixed {
		c.single(c.entry(segs, "publish", i), role, "this port of the host", "leave out the host port", "the proxy publishes one for them (proxy.publish)")
	}
}

// single refuses what only one container can have, where a role has several.
func (c *checker) single(segs []string, role Role, what, without, proxied string) {
	switch {
	case role.Start == "after-barrier" && role.Replicas == 1:
	case c.cfg.Proxied(role) || role.Name == c.cfg.PrimaryRole:
		c.at(segs, "old and new container cannot both have %s; %s", what, proxied)
	case role.Replicas > 1:
		c.at(segs, "only one of the %d replicas could have %s; %s, or replicas", role.Replicas, what, without)
	default:
		c.at(segs, "old and new container cannot both have %s; set start: after-barrier, or %s", what, without)
	}
}

func (c *checker) assets(segs []string, one string, several []string) {
	if one != "" && several != nil {
		c.atKey(append(slices.Clip(segs), "asset_path"), "is given beside asset_paths; put all paths there")
	}
	const whole = "is the whole file system of the container; name the folder of the assets"
	if one == "/" {
		c.at(append(slices.Clip(segs), "asset_path"), whole)
	}
	for i, p := range several {
		if p == "/" {
			c.at(append(slices.Clip(segs), "asset_paths", itoa(i)), whole)
		}
	}
}

// routedByLabels refuses labels by which a proxy that follows Docker sends
// requests to a role's containers: to workers too, before they are ready, and
// with requests of other services. The proxy follows Docker where any service
// of the host uses the cord; elsewhere the labels have no effect. Middlewares
// take no requests.
func (c *checker) routedByLabels(segs []string, labels map[string]string) {
	for name := range labels {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "traefik.") || strings.HasPrefix(lower, "traefik.http.middlewares.") {
			continue
		}
		c.atKey(append(slices.Clip(segs), name), "has no effect, or, where a service of the host has proxy.switch: cord, routes past kstep and the owners of routes; use proxy.hosts and proxy.path_prefix")
	}
}

func (c *checker) environments() {
	c.cfg.eachEnv(func(segs []string, env *Env) {
		seen := map[string]bool{}
		for i, entry := range env.Secret {
			name, _ := splitSecret(entry)
			at := append(slices.Clip(segs), "secret", itoa(i))
			if _, twice := env.Clear[name]; twice {
				c.at(at, "%s is under clear too; keep one", name)
			}
			if seen[name] {
				c.at(at, "%s is listed twice", name)
			}
			seen[name] = true
		}
		for name, value := range env.Clear {
			at := append(slices.Clip(segs), "clear", name)
			if strings.ContainsRune(value, 0) {
				c.at(at, "a variable cannot hold a NUL byte")
			}
			if err := VariableFits(name, value); err != nil {
				c.at(at, "%s", err)
			}
		}
	})
}

func (c *checker) rollout() {
	for _, span := range []struct {
		segs  []string
		value Duration
	}{
		{[]string{"hook_timeout"}, c.cfg.HookTimeout},
		{[]string{"barrier", "timeout"}, c.cfg.Barrier.Timeout},
		{[]string{"cutover", "timeout"}, c.cfg.Cutover.Timeout},
		{[]string{"lease", "ttl"}, c.cfg.Lease.TTL},
		{[]string{"ssh", "connect_timeout"}, c.cfg.SSH.ConnectTimeout},
	} {
		c.positive(span.segs, span.value)
	}
	c.healthcheck([]string{"healthcheck"}, c.cfg.Healthcheck)
	c.runDirectory()
}

// runDirectory refuses folders that are the system's, or shared by all users:
// kstep makes, renames and removes files in it.
func (c *checker) runDirectory() {
	const (
		alone  = "/ /dev /dev/shm /home /media /mnt /opt /root /run /srv /tmp /var /var/lib /var/log /var/run /var/tmp .ssh"
		system = "/bin /boot /etc /lib /lib64 /proc /sbin /sys /usr"
	)
	at, folder := []string{"run_directory"}, c.cfg.RunDirectory
	if slices.Contains(strings.Split(folder, "/"), "..") {
		c.at(at, "must not have .. in it")
		return
	}
	folder = path.Clean(folder)
	below := func(one string) bool { return folder == one || strings.HasPrefix(folder, one+"/") }
	if slices.Contains(strings.Fields(alone), folder) || slices.ContainsFunc(strings.Fields(system), below) {
		c.at(at, "is a folder of the system; give kstep one of its own, such as .kstep or /opt/kstep")
	}
}

func (c *checker) positive(segs []string, d Duration) {
	if d <= 0 {
		c.at(segs, "must be longer than 0s")
	}
}

func (c *checker) labels(segs []string, labels map[string]string) {
	for name := range labels {
		if strings.HasPrefix(name, "kstep.") {
			c.atKey(append(slices.Clip(segs), name), `labels that begin with "kstep." are kstep's own`)
		}
	}
}
