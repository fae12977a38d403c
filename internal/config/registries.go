package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// Registries are further registries, in the order of the file.
type Registries []Registry

// DockerHub is the canonical name of Docker Hub.
const DockerHub = "docker.io"

// CanonicalServer is one name for each registry server: Docker Hub has several,
// host names do not depend on case, and 443 is the port of HTTPS anyway. A path
// behind the server is no part of it.
func CanonicalServer(server string) string {
	host, _, _ := strings.Cut(strings.ToLower(server), "/")
	host = strings.TrimSuffix(host, ":443")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return DockerHub
	}
	return host
}

// NamesServer reports whether an image or repository names its server, by
// Docker's rule: a first part with a dot or a colon, or localhost, is one.
func NamesServer(image string) bool {
	first, _, found := strings.Cut(image, "/")
	return found && (strings.ContainsAny(first, ".:") || first == "localhost")
}

// ServerOf is the canonical server of an image or repository.
func ServerOf(image string) string {
	if NamesServer(image) {
		return CanonicalServer(image)
	}
	return DockerHub
}

// RegistryServer is the canonical server of the application's image.
func (c *Config) RegistryServer() string {
	if c.Registry.Server != "" {
		return CanonicalServer(c.Registry.Server)
	}
	return ServerOf(c.Image)
}

// RegistryAt is what the configuration says about a server, and under which
// key. A server that it does not name has neither.
func (c *Config) RegistryAt(server string) (r Registry, key string) {
	server = CanonicalServer(server)
	if !c.Registry.IsZero() && c.RegistryServer() == server {
		return c.Registry, "registry"
	}
	for _, r := range c.Registries {
		if CanonicalServer(r.Server) == server {
			return r, keyPath("registries", r.Server)
		}
	}
	return Registry{}, ""
}

// RegistryKey is the key under which a server is, or would be, configured.
func (c *Config) RegistryKey(server string) string {
	if _, key := c.RegistryAt(server); key != "" {
		return key
	}
	if server = CanonicalServer(server); c.RegistryServer() == server {
		return "registry"
	}
	return keyPath("registries", server)
}

// HasLogin reports whether a user and a password are configured.
func (r Registry) HasLogin() bool { return len(r.Password) > 0 }

// MarshalJSON writes a map by server, the form that a destination's file is
// merged over key by key.
func (r Registries) MarshalJSON() ([]byte, error) {
	return appendObject(r, func(one Registry) string { return one.Server })
}

// UnmarshalJSON reads a map by server; the loader has turned a list into one.
func (r *Registries) UnmarshalJSON(data []byte) error {
	*r = nil
	return eachEntry(data, func(server string, d *json.Decoder) error {
		var one Registry
		if err := d.Decode(&one); err != nil {
			return err
		}
		one.Server = server
		*r = append(*r, one)
		return nil
	})
}

// byServer is a list of registries as a map by server. Entries without a server,
// or with one that is there already, stay out and are returned.
func byServer(registries *node) (named *node, left []*node) {
	if registries.kind != list {
		return registries, nil
	}
	named = &node{kind: mapping, at: registries.at, path: registries.path}
	for _, item := range registries.items {
		server := item.get("server")
		if server == nil || named.get(server.text) != nil {
			left = append(left, item)
			continue
		}
		named.pairs = append(named.pairs, pair{key: server.text, at: server.at, path: item.path, value: item})
	}
	return named, left
}

// canonicalRegistries spells registries out as a map by server.
func (c *checker) canonicalRegistries() {
	registries := c.tree.get("registries")
	if registries == nil {
		return
	}
	named, left := byServer(registries)
	for _, item := range left {
		at, path, message := item.at, item.path, "server is missing; write the registry's host, such as ghcr.io"
		if server := item.get("server"); server != nil {
			at, path, message = server.at, server.path, "is listed twice; a server has one login"
		}
		c.problems = append(c.problems, Problem{File: at.file, Line: at.line, Column: at.column, Path: path, Message: message})
	}
	*registries = *named
}

// registries checks the logins: each is whole, and a server has only one.
func (c *checker) registries() {
	c.credentials([]string{"registry"}, c.cfg.Registry)
	c.direct()
	for _, r := range c.cfg.Registries {
		segs := []string{"registries", r.Server}
		c.credentials(segs, r)
		if n := c.tree.find(append(slices.Clip(segs), "server")); n != nil && n.text != r.Server {
			c.at(append(slices.Clip(segs), "server"), "is not the key that it stands under; leave it out")
		}
		if !r.HasLogin() && r.Username == (SecretOrValue{}) && !r.Insecure {
			c.atKey(segs, "says nothing; give username and password, or insecure: true")
		}
		first, key := c.cfg.RegistryAt(r.Server)
		if key == "registry" || first.Server != r.Server {
			c.atKey(segs, "is the same server as %s; a server has one login, keep one of them", key)
		}
	}
}

// direct checks what an image without a registry needs.
func (c *checker) direct() {
	if !c.cfg.Direct() {
		return
	}
	if !c.cfg.Registry.IsZero() {
		c.atKey([]string{"registry"}, "has no image to push there: give image its repository, such as acme/%s; or leave registry out, and the image goes to the hosts through SSH", c.cfg.Service)
	}
	if c.cfg.Service != "" && !repositoryName.MatchString(c.cfg.Service) {
		c.at([]string{"service"}, "is the name of the image, too, where image is missing: it must end with a letter or digit, and have no more than two _ in a row, and no _ beside a -")
	}
}

// repositoryName is one part of a repository's name, by the distribution's grammar.
var repositoryName = regexp.MustCompile(`^[a-z0-9]+((_|__|-+)[a-z0-9]+)*$`)

func (c *checker) credentials(segs []string, r Registry) {
	switch hasName := r.Username != (SecretOrValue{}); {
	case hasName && !r.HasLogin():
		c.at(append(slices.Clip(segs), "password"), "is missing; name the secret that holds it, as a list")
	case !hasName && r.HasLogin():
		c.at(append(slices.Clip(segs), "username"), "is missing; write it, or a list with the name of the secret that holds it")
	}
}
