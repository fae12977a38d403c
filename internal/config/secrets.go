package config

import (
	"maps"
	"slices"
	"strings"
)

// SecretUse is a secret's name and the keys of the configuration that use it.
type SecretUse struct {
	Name  string
	Where []string // Such as `env.secret[0]`.
}

// SecretNames are the secrets that the configuration refers to, sorted by
// name. The configuration never holds their values, with one exception: a
// clear variable may have one filled in by `${NAME}`.
func (c *Config) SecretNames() []SecretUse {
	uses := map[string][]string{}
	add := func(name string, segs ...string) {
		path := ""
		for _, s := range segs {
			if index(s) >= 0 {
				path += "[" + s + "]"
			} else {
				path = keyPath(path, s)
			}
		}
		uses[name] = append(uses[name], path)
	}
	list := func(names []string, segs ...string) {
		for i, name := range names {
			add(name, append(slices.Clip(segs), itoa(i))...)
		}
	}
	login := func(r Registry, segs ...string) {
		if r.Username.Secret != "" {
			add(r.Username.Secret, append(slices.Clip(segs), "username")...)
		}
		list(r.Password, append(slices.Clip(segs), "password")...)
	}
	login(c.Registry, "registry")
	for _, r := range c.Registries {
		login(r, "registries", r.Server)
	}
	list(c.Builder.Secrets, "builder", "secrets")
	list(c.SSH.KeyData, "ssh", "key_data")
	list(c.State.Key, "state", "key")
	for i, pair := range c.Proxy.TLS.Certificates {
		pair.secrets(add, "proxy", "tls", "certificates", itoa(i))
	}
	KeyPair{c.Proxy.TLS.Certificate, c.Proxy.TLS.PrivateKey}.secrets(add, "proxy", "tls")
	c.eachEnv(func(segs []string, env *Env) {
		for i, entry := range env.Secret {
			add(secretOf(entry), append(slices.Clip(segs), "secret", itoa(i))...)
		}
	})
	all := make([]SecretUse, 0, len(uses))
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		all = append(all, SecretUse{Name: name, Where: uses[name]})
	}
	return all
}

// splitSecret splits `NAME:SECRET`; without a colon both are the same.
func splitSecret(entry string) (name, secret string) {
	name, secret, aliased := strings.Cut(entry, ":")
	if !aliased {
		return entry, entry
	}
	return name, secret
}

func secretOf(entry string) string {
	_, secret := splitSecret(entry)
	return secret
}

// eachEnv visits every environment with its place in the spelled-out tree.
// What the visitor changes is kept.
func (c *Config) eachEnv(visit func(segs []string, env *Env)) {
	visit([]string{"env"}, &c.Env)
	for _, tag := range slices.Sorted(maps.Keys(c.Env.Tags)) {
		env := c.Env.Tags[tag]
		visit([]string{"env", "tags", tag}, &env)
		c.Env.Tags[tag] = env
	}
	for i := range c.Servers.Roles {
		role := &c.Servers.Roles[i]
		visit([]string{"servers", role.Name, "env"}, &role.Env)
	}
	for i := range c.Accessories.All {
		one := &c.Accessories.All[i]
		visit([]string{"accessories", one.Name, "env"}, &one.Env)
	}
	visit([]string{"proxy", "env"}, &c.Proxy.Env)
}

// EnvNames are the variables of all containers: those that hold secrets, also
// clear ones that a secret is filled into, and those that are clear. The user name
// of a registry is neither.
func (c *Config) EnvNames() (secret, clear map[string]bool) {
	secret, clear = map[string]bool{}, map[string]bool{}
	c.eachEnv(func(_ []string, env *Env) {
		for _, entry := range env.Secret {
			name, source := splitSecret(entry)
			if source == c.Registry.Username.Secret {
				clear[name] = true
			} else {
				secret[name] = true
			}
		}
		for name := range env.Clear {
			if _, filled := env.sources[name]; filled {
				secret[name] = true
			} else {
				clear[name] = true
			}
		}
	})
	return secret, clear
}

func (c *Config) isSecret() func(string) bool {
	names := map[string]bool{}
	for _, use := range c.SecretNames() {
		names[use.Name] = true
	}
	return func(name string) bool { return names[name] }
}

// keepSecretSources remembers the text of every clear value that a secret was
// filled into.
func (c *Config) keepSecretSources(tree *node) {
	secret := c.isSecret()
	c.eachEnv(func(segs []string, env *Env) {
		for name := range env.Clear {
			n := tree.find(append(slices.Clip(segs), "clear", name))
			if n == nil || !slices.ContainsFunc(n.vars, secret) {
				continue
			}
			if env.sources == nil {
				env.sources = map[string]string{}
			}
			env.sources[name] = n.raw
		}
	})
}

// leaks reports values outside an environment that a secret was filled into:
// they would end up in labels, state files and image layers.
func (c *checker) leaks() {
	secret := c.cfg.isSecret()
	c.tree.walk(func(segs []string, n *node) {
		if isClear(segs) {
			return
		}
		for _, name := range n.vars {
			if secret(name) {
				c.at(segs, "fills in the secret %s; only a clear value under env may do that", name)
			}
		}
	})
}

// secrets adds the names of the secrets that hold the pair.
func (p KeyPair) secrets(add func(name string, segs ...string), segs ...string) {
	if p.Certificate.Secret != "" {
		add(p.Certificate.Secret, append(slices.Clip(segs), "certificate")...)
	}
	if p.PrivateKey.Secret != "" {
		add(p.PrivateKey.Secret, append(slices.Clip(segs), "private_key")...)
	}
}
