package hosttest

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // As Traefik reads passwords of this form.
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Traefik's own services: one answers 200, one is its API.
const (
	pingService = "ping@internal"
	apiService  = "api@internal"
)

// dynamic is what Traefik knows, with `@provider` at every name.
type dynamic struct {
	routers     map[string]*tRouter
	services    map[string]*tService
	middlewares map[string]*tMiddleware
	transports  map[string]tTransport
	// certificates are those of files, and minVersions the oldest versions of TLS by the
	// name of the options.
	certificates []struct {
		Certificate string `yaml:"certFile"`
		Key         string `yaml:"keyFile"`
	}
	minVersions map[string]string
}

type tMiddleware struct {
	Headers struct {
		CustomResponseHeaders map[string]string `yaml:"customResponseHeaders"`
	} `yaml:"headers"`
	BasicAuth *tBasicAuth `yaml:"basicAuth"`
	Redirect  *tRedirect  `yaml:"redirectScheme"`
	Rewrite   *tRewrite   `yaml:"redirectRegex"`
	Strip     *struct {
		Prefixes []string `yaml:"prefixes"`
	} `yaml:"stripPrefix"`
	Allow *struct {
		Source   []string `yaml:"sourceRange"`
		Reject   int      `yaml:"rejectStatusCode"`
		Strategy struct {
			Depth int `yaml:"depth"`
		} `yaml:"ipStrategy"`
	} `yaml:"ipAllowList"`
}

// tBasicAuth are users, as `name:{SHA}<digest in base64>`.
type tBasicAuth struct {
	Users []string `yaml:"users"`
}

func (a *tBasicAuth) admits(r *http.Request) bool {
	if a == nil {
		return true
	}
	name, password, _ := r.BasicAuth()
	sum := sha1.Sum([]byte(password))
	return slices.Contains(a.Users, name+":{SHA}"+base64.StdEncoding.EncodeToString(sum[:]))
}

// tTransport is how a service's servers are connected to; the zero one is
// Traefik's default.
type tTransport struct {
	InsecureSkipVerify bool `yaml:"insecureSkipVerify"`

	MaxIdlePerHost int `yaml:"maxIdleConnsPerHost"`
	Timeouts       struct {
		Idle string `yaml:"idleConnTimeout"`
	} `yaml:"forwardingTimeouts"`
}

// transport is false for a service that names one that is not there.
func (d *dynamic) transport(s *tService) (tTransport, bool) {
	if s.LoadBalancer.Transport == "" {
		return tTransport{MaxIdlePerHost: 200}, true
	}
	found, ok := d.transports[qualified(s.LoadBalancer.Transport, s.Provider)]
	return found, ok
}

type tRouter struct {
	Rule        string      `yaml:"rule" json:"rule"`
	Service     string      `yaml:"service" json:"service"`
	EntryPoints []string    `yaml:"entryPoints" json:"entryPoints"`
	Middlewares []string    `yaml:"middlewares" json:"middlewares,omitempty"`
	Priority    int         `yaml:"priority" json:"priority"`
	TLS         *tRouterTLS `yaml:"tls" json:"tls,omitempty"`
	Name        string      `yaml:"-" json:"name"`
	Provider    string      `yaml:"-" json:"provider"`
	Status      string      `yaml:"-" json:"status"`

	match matcher
}

// takes reports whether the router has requests of an entry point. By default it has
// those of all but Traefik's own.
func (r *tRouter) takes(entry string) bool {
	if len(r.EntryPoints) == 0 {
		return entry != "traefik"
	}
	return slices.Contains(r.EntryPoints, entry)
}

type tService struct {
	LoadBalancer struct {
		Servers []struct {
			URL string `yaml:"url" json:"url"`
		} `yaml:"servers" json:"servers"`
		Transport string `yaml:"serversTransport" json:"serversTransport,omitempty"`
	} `yaml:"loadBalancer" json:"loadBalancer"`
	ServerStatus map[string]string `yaml:"-" json:"serverStatus"`
	Name         string            `yaml:"-" json:"name"`
	Provider     string            `yaml:"-" json:"provider"`
	Status       string            `yaml:"-" json:"status"`
}

func (t *traefik) read() *dynamic {
	d := &dynamic{
		routers: map[string]*tRouter{}, services: map[string]*tService{},
		middlewares: map[string]*tMiddleware{}, transports: map[string]tTransport{}, minVersions: map[string]string{},
	}
	if t.option("ping") == "true" {
		d.services[pingService] = &tService{}
	}
	if t.option("api") == "true" || t.option("api.insecure") == "true" {
		d.services[apiService] = &tService{}
	}
	if dir := t.option("providers.file.directory"); dir != "" && time.Since(t.started) > loadTime {
		t.readFiles(d, t.c.hostPath(dir))
	}
	if t.option("providers.docker") == "true" {
		t.readLabels(d)
	}
	for name, s := range d.services {
		s.Name, s.Status, s.ServerStatus = name, "enabled", map[string]string{}
		_, s.Provider, _ = strings.Cut(name, "@")
		for _, server := range s.LoadBalancer.Servers {
			s.ServerStatus[server.URL] = "UP"
		}
	}
	for name, r := range d.routers {
		r.Name, r.Status = name, "enabled"
		_, r.Provider, _ = strings.Cut(name, "@")
		service, ok := d.services[qualified(r.Service, r.Provider)]
		if ok {
			_, ok = d.transport(service)
		}
		for _, m := range r.Middlewares {
			one, known := d.middlewares[qualified(m, r.Provider)]
			ok = ok && known && one.works()
		}
		var err error
		if r.match, err = parseRule(r.Rule); !ok || err != nil || !t.enters(r) {
			r.Status = "disabled"
		}
		if r.Priority == 0 {
			r.Priority = len(r.Rule)
		}
	}
	return d
}

func qualified(name, provider string) string {
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + provider
}

func (t *traefik) readFiles(d *dynamic, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !slices.Contains([]string{".yml", ".yaml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		file := t.parsed(e.Name(), data)
		for name, r := range file.HTTP.Routers {
			d.routers[name+"@file"] = &r
		}
		for name, s := range file.HTTP.Services {
			d.services[name+"@file"] = &s
		}
		for name, one := range file.HTTP.ServersTransports {
			d.transports[name+"@file"] = one
		}
		for name, m := range file.HTTP.Middlewares {
			d.middlewares[name+"@file"] = &m
		}
		d.certificates = append(d.certificates, file.TLS.Certificates...)
		for name, one := range file.TLS.Options {
			d.minVersions[name] = one.MinVersion
		}
	}
}

// dynamicFile is what a file says; nothing, if it can't be read.
type dynamicFile struct {
	text string
	HTTP struct {
		Routers     map[string]tRouter     `yaml:"routers"`
		Services    map[string]tService    `yaml:"services"`
		Middlewares map[string]tMiddleware `yaml:"middlewares"`

		ServersTransports map[string]tTransport `yaml:"serversTransports"`
	} `yaml:"http"`
	TLS tTLS `yaml:"tls"`
}

// parsed is the content of a file. It is cached, because files rarely change.
func (t *traefik) parsed(name string, data []byte) *dynamicFile {
	if known, ok := t.files.Load(name); ok && known.(*dynamicFile).text == string(data) {
		return known.(*dynamicFile)
	}
	file := &dynamicFile{}
	if yaml.Unmarshal(data, file) != nil {
		file = &dynamicFile{}
	}
	file.text = string(data)
	t.files.Store(name, file)
	return file
}

// readLabels follows the containers that run and are not sick. A service that two
// of them define differently is dropped.
func (t *traefik) readLabels(d *dynamic) {
	e := t.c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	defined := map[string]string{}
	defer func() {
		for name, transport := range defined {
			if transport == conflict {
				delete(d.services, name)
			}
		}
	}()
	for _, c := range e.containers {
		if c.state != "running" || c.health == "starting" || c.health == "unhealthy" || c.Config.Labels["traefik.enable"] != "true" {
			continue
		}
		for _, label := range sortedKeys(c.Config.Labels) {
			value := c.Config.Labels[label]
			if m := serverPort.FindStringSubmatch(label); m != nil {
				name := m[1] + "@docker"
				if d.services[name] == nil {
					d.services[name] = &tService{}
				}
				lb := &d.services[name].LoadBalancer
				lb.Transport = c.transportLabel(m[1])
				if before, ok := defined[name]; ok && before != lb.Transport {
					defined[name] = conflict
				} else {
					defined[name] = lb.Transport
				}
				lb.Servers = append(lb.Servers, struct {
					URL string `yaml:"url" json:"url"`
				}{fmt.Sprintf("%s://%s:%s", cmp.Or(c.Config.Labels["traefik.http.services."+m[1]+".loadbalancer.server.scheme"], "http"), t.addressOf(c), value)})
			}
			if m := routerLabel.FindStringSubmatch(label); m != nil {
				name := m[1] + "@docker"
				if d.routers[name] == nil {
					d.routers[name] = &tRouter{Service: m[1]}
				}
				if m[2] == "rule" {
					d.routers[name].Rule = value
				} else {
					d.routers[name].Service = value
				}
			}
		}
	}
}

// addressOf is where Traefik sends a container's requests: on the network that its
// label or else the option names, or the first one if it is not in that.
func (t *traefik) addressOf(c *container) string {
	want := cmp.Or(c.Config.Labels["traefik.docker.network"], t.option("providers.docker.network"))
	if at := c.networks[want]; at != nil {
		return at.address
	}
	if all := c.addresses(); len(all) > 0 {
		return all[0]
	}
	return ""
}

// conflict stands for the transport of a service that is defined in two ways.
const conflict = "\x00"

func (c *container) transportLabel(service string) string {
	for label, value := range c.Config.Labels {
		if m := transportRef.FindStringSubmatch(label); m != nil && m[1] == service {
			return value
		}
	}
	return ""
}
