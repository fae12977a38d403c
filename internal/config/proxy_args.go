package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ArgName is a Traefik option as Traefik compares names: in lower case.
func ArgName(name string) string { return strings.ToLower(name) }

// reservedArg is a Traefik option that kstep sets and depends on.
type reservedArg struct {
	// name is the option; one that ends in a dot stands for all below it.
	name string
	// allowed are values that change nothing. None: any value is refused.
	allowed []string
	// why completes the sentence "kstep …".
	why string
	// instead is what to use, if there is something.
	instead string
	// cord marks an option that matters with `proxy.switch: cord` only.
	cord bool
	// tls marks an option that matters with `proxy.tls` only.
	tls bool
}

func (r reservedArg) matches(name string) bool {
	if group, ok := strings.CutSuffix(r.name, "."); ok {
		return name == group || strings.HasPrefix(name, r.name) || strings.HasPrefix(name, group+"[")
	}
	return name == r.name
}

// reservedArgs are the options without which no request, or no question of
// kstep's, would reach the proxy.
func reservedArgs() []reservedArg {
	const (
		listens  = "publishes this port of the container and needs plain HTTP there"
		asks     = "queries this API for the routes that are served"
		files    = "writes the routes into this folder"
		commands = "sets all options on the command line, which Traefik ignores beside a configuration file"
	)
	yes := []string{"true"}
	return []reservedArg{
		{name: "configfile", why: commands, instead: "write the options under proxy.args"},
		{
			name: "entrypoints.web.address", allowed: []string{":80", "0.0.0.0:80", "[::]:80", ":80/tcp"},
			why: listens, instead: "proxy.publish sets the port of the host",
		},
		{name: "entrypoints.web.http.tls.", why: listens, instead: "proxy.tls serves HTTPS"},
		{name: "entrypoints.web.http3.", why: listens},
		{name: "entrypoints.websecure.address", why: "opens this entry point for HTTPS", instead: "proxy.tls and proxy.publish set it", tls: true},
		{name: "entrypoints.websecure.http3.", why: "opens this entry point for HTTPS", instead: "proxy.tls.http3 sets it", tls: true},
		{name: "entrypoints.traefik.", why: asks},
		{name: "api", allowed: yes, why: asks},
		{name: "api.insecure", allowed: []string{"true", "false"}, why: asks},
		{name: "api.basepath", allowed: []string{"/"}, why: asks},
		{name: "ping", allowed: yes, why: "answers load balancers by it"},
		{name: "core.defaultrulesyntax", allowed: []string{"v3"}, why: "writes rules in the syntax of version 3"},
		{name: "providers.file", allowed: yes, why: files},
		{name: "providers.file.watch", allowed: yes, why: files},
		{name: "providers.file.directory", why: files, instead: "put your own files into the folder that is mounted there"},
		{name: "providers.file.filename", why: files, instead: "put your own files into the folder that is mounted there"},
		{name: "providers.docker", allowed: yes, why: "lets the proxy follow the containers' health", cord: true},
		{name: "providers.docker.watch", allowed: yes, why: "lets the proxy follow the containers' health", cord: true},
		{name: "providers.docker.network", allowed: []string{"kstep"}, why: "puts the containers on this network", cord: true},
		{name: "providers.docker.endpoint", why: "mounts the engine's socket for the proxy", instead: "ssh.docker_socket", cord: true},
		{name: "providers.docker.constraints", why: "lets the proxy follow the containers' health", cord: true},
		{name: "providers.docker.swarmmode", allowed: []string{"false"}, why: "runs plain containers", cord: true},
	}
}

// proxyArgs refuses options that would take every service of a host down, or
// keep kstep from seeing what the proxy does.
func (c *checker) proxyArgs() {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Proxy.Args)) {
		value := c.cfg.Proxy.Args[name]
		segs := []string{"proxy", "args", name}
		short := ArgName(name)
		if other, twice := seen[short]; twice {
			c.atKey(segs, "is the same option as %q; keep one", other)
		}
		seen[short] = name
		c.reserved(segs, short, value)
		switch {
		case strings.HasPrefix(short, "entrypoints.web.http.redirections."):
			c.redirection(segs, short, value)
		case strings.HasPrefix(short, "entrypoints.web.forwardedheaders.") && len(c.cfg.Proxy.TrustedProxies) > 0:
			c.atKey(segs, "is given beside proxy.trusted_proxies, which sets it; keep one")
		}
	}
}

func (c *checker) reserved(segs []string, name, value string) {
	for _, r := range reservedArgs() {
		if !r.matches(name) || slices.Contains(r.allowed, strings.ToLower(value)) || (r.cord && c.cfg.Proxy.Switch != "cord") || (r.tls && !c.cfg.Proxy.TLS.On) {
			continue
		}
		message := "would take the services of the host down: kstep " + r.why
		if r.instead != "" {
			message += "; instead, " + r.instead
		}
		c.atKey(segs, "%s", message)
	}
}

// redirection refuses to send every request to an entry point that no port of
// the host leads to. A port written as `:443` is one in front of the hosts, where
// trusted proxies end TLS: without them, it is a port that nothing listens on.
func (c *checker) redirection(segs []string, name, value string) {
	switch {
	case name != "entrypoints.web.http.redirections.entrypoint.to":
		return
	case strings.HasPrefix(value, ":"):
		if len(c.cfg.Proxy.TrustedProxies) == 0 && !c.trustsByArgs() {
			c.atKey(segs, "%s", fmt.Sprintf("would take the services of the host down: it redirects every request to port %s, "+
				"where kstep's proxy does not listen; proxy.tls serves HTTPS and redirects to it; where TLS ends in front of the hosts, set proxy.trusted_proxies too", value[1:]))
		}
		return
	}
	c.atKey(segs, "%s", fmt.Sprintf("would take the services of the host down: no port of the host leads to the entry point %s; "+
		"proxy.tls serves HTTPS and redirects to it; where TLS ends in front of the hosts, set proxy.trusted_proxies and let the load balancer or the application redirect", value))
}

// trustsByArgs reports whether an option of the proxy names what is in front of it.
func (c *checker) trustsByArgs() bool {
	for name := range c.cfg.Proxy.Args {
		if strings.HasPrefix(ArgName(name), "entrypoints.web.forwardedheaders.") {
			return true
		}
	}
	return false
}
