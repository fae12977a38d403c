package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/route"
)

// Middlewares are Traefik's, by names of the user's own, in the order of the file.
type Middlewares struct{ All []Middleware }

// Middleware is one of them: its kind, with its settings as Traefik reads them.
type Middleware struct {
	Name string
	// Settings are one key, the kind, such as `rateLimit`, as JSON.
	Settings json.RawMessage
}

// IsZero reports whether there are none.
func (m Middlewares) IsZero() bool { return len(m.All) == 0 }

// MarshalJSON writes an object, in order.
func (m Middlewares) MarshalJSON() ([]byte, error) {
	return appendObject(m.All, func(one Middleware) string { return one.Name })
}

// MarshalJSON writes the settings.
func (m Middleware) MarshalJSON() ([]byte, error) { return m.Settings, nil }

// UnmarshalJSON reads an object and keeps its order.
func (m *Middlewares) UnmarshalJSON(data []byte) error {
	m.All = nil
	return eachEntry(data, func(name string, d *json.Decoder) error {
		one := Middleware{Name: name}
		if err := d.Decode(&one.Settings); err != nil {
			return fmt.Errorf("middleware %s: %w", name, err)
		}
		var text bytes.Buffer
		if err := json.Compact(&text, one.Settings); err != nil {
			return err
		}
		one.Settings = text.Bytes()
		m.All = append(m.All, one)
		return nil
	})
}

// MiddlewareKinds are the kinds of middlewares for HTTP that Traefik 3 has:
// https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/overview/
func MiddlewareKinds() []string {
	return []string{
		"addPrefix", "basicAuth", "buffering", "chain", "circuitBreaker", "compress", "contentType", "digestAuth", "errors",
		"forwardAuth", "grpcWeb", "headers", "inFlightReq", "ipAllowList", "passTLSClientCert", "plugin", "rateLimit",
		"redirectRegex", "redirectScheme", "replacePath", "replacePathRegex", "retry", "stripPrefix", "stripPrefixRegex",
	}
}

// Names are all host names of the service: those that it serves, and those that it
// redirects.
func (p Proxy) Names() []string {
	names := slices.Clone(p.Hosts)
	for _, from := range slices.Sorted(maps.Keys(p.Redirects)) {
		if !slices.Contains(names, from) {
			names = append(names, from)
		}
	}
	return names
}

// templated is why {{ is refused: Traefik reads its files as templates, which can read
// files and variables of the proxy.
const templated = "must not have {{ in it, which Traefik takes for the beginning of a template"

// middlewares checks what the proxy does to requests and answers.
func (c *checker) middlewares() {
	p := c.cfg.Proxy
	if p.StripPathPrefix && route.Prefix(p.PathPrefix) == "/" {
		c.atKey([]string{"proxy", "strip_path_prefix"}, "has no effect without proxy.path_prefix")
	}
	for from, to := range p.Redirects {
		segs := []string{"proxy", "redirects", from}
		switch {
		case len(p.Hosts) == 0:
			c.atKey(segs, "needs proxy.hosts: without them the service serves every name itself")
		case slices.Contains(p.Hosts, from):
			c.atKey(segs, "is in proxy.hosts too; a name is either served or redirected")
		case !slices.Contains(p.Hosts, to):
			c.at(segs, "%s", c.unknown(segs, "host", to, p.Hosts))
		case strings.HasPrefix(to, "*."):
			c.at(segs, "is a wildcard; requests are redirected to one name")
		}
	}
	for i, one := range p.Allow {
		if _, err := netip.ParseAddr(one); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(one); err != nil {
			c.at(c.entry([]string{"proxy"}, "allow", i), "must be an address such as 203.0.113.7, or a range such as 203.0.113.0/24")
		}
	}
	for name, value := range p.Headers {
		if strings.Contains(value, "{{") {
			c.at([]string{"proxy", "headers", name}, templated)
		}
	}
	for _, m := range p.Middlewares.All {
		if bytes.Contains(m.Settings, []byte("{{")) {
			c.atKey([]string{"proxy", "middlewares", m.Name}, templated)
		}
		segs := []string{"proxy", "middlewares", m.Name}
		var kinds map[string]json.RawMessage
		if err := json.Unmarshal(m.Settings, &kinds); err != nil || len(kinds) != 1 {
			c.atKey(segs, "must have one key, which is the kind of middleware, such as rateLimit")
			continue
		}
		for kind := range kinds {
			if !slices.Contains(MiddlewareKinds(), kind) {
				at := append(slices.Clip(segs), kind)
				c.atKey(at, "%s", c.unknown(at, "kind of middleware", kind, MiddlewareKinds()))
			}
		}
	}
}
