package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
)

// routes replaces one file in the folder that the proxy watches. One rename
// takes the traffic from the old containers and gives it to the new ones, so
// there is no moment with both and none with neither.
type routes struct{ Role }

var _ Switch = (*routes)(nil)

func (s *routes) Live(ctx context.Context, containers []engine.Container) ([]string, error) {
	data, err := s.Host.Files().Read(ctx, s.Names.RouteFile(s.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var file routeFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read route %s: %w", s.Names.RouteFile(s.Name), err)
	}
	var live []string
	for _, c := range containers {
		if slices.Contains(file.urls(s.Names.Route(s.Name)), s.url(c)) {
			live = append(live, c.ID)
		}
	}
	return live, nil
}

func (s *routes) Admit(ctx context.Context, replicas []engine.Container) error {
	route := s.Names.Route(s.Name)
	var urls []string
	for _, c := range replicas {
		urls = append(urls, s.url(c))
	}
	data := routeTo(route, s.Config.Proxy, route, urls...)
	if err := s.Host.Files().WriteVia(ctx, s.Names.ProxyDir(), s.Names.RouteFile(s.Name), data, 0o644); err != nil {
		return err
	}
	only := func(now []string, known bool) bool {
		return known && slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(urls)))
	}
	if err := s.confirm(ctx, route+"@file", only); err != nil {
		return fmt.Errorf("wait for the proxy to route to %s: %w", engine.NamesOf(replicas), err)
	}
	return nil
}

// Dismiss has nothing to do: Admit replaced the old containers and waited for
// the proxy to name the new ones alone.
func (s *routes) Dismiss(context.Context, []engine.Container) error { return nil }

// url names the container by its id on kstep's network: Docker's DNS follows
// it through restarts of container, engine and host, when addresses change.
func (s *routes) url(c engine.Container) string {
	return fmt.Sprintf("http://%s:%d", plan.Short(c.ID), s.Health.Port)
}

// routeFile is the part of Traefik's dynamic configuration that kstep writes:
// https://doc.traefik.io/traefik/reference/routing-configuration/other-providers/file/
// JSON is YAML, which is what Traefik reads from a .yml file.
type routeFile struct {
	HTTP struct {
		Routers  map[string]router  `json:"routers"`
		Services map[string]service `json:"services,omitempty"`
		// Transports are how the proxy connects to the containers.
		Transports map[string]transport `json:"serversTransports,omitempty"`
	} `json:"http"`
}

type router struct {
	Rule        string   `json:"rule"`
	Service     string   `json:"service"`
	EntryPoints []string `json:"entryPoints"`
	Priority    int      `json:"priority,omitempty"`
}

type service struct {
	LoadBalancer loadBalancer `json:"loadBalancer"`
}

type loadBalancer struct {
	Servers   []server `json:"servers"`
	Transport string   `json:"serversTransport,omitempty"`
}

type server struct {
	URL string `json:"url"`
}

func (f routeFile) urls(route string) []string {
	var urls []string
	for _, s := range f.HTTP.Services[route].LoadBalancer.Servers {
		urls = append(urls, s.URL)
	}
	return urls
}

// routeTo makes the file: a router, and with urls its service too.
func routeTo(route string, cfg config.Proxy, target string, urls ...string) []byte {
	var file routeFile
	file.HTTP.Routers = map[string]router{route: {
		Rule: rule(cfg), Service: target, EntryPoints: []string{"web"},
	}}
	file.HTTP.Transports = map[string]transport{route: transportOf(cfg)}
	if len(urls) > 0 {
		own := loadBalancer{Transport: route}
		for _, url := range urls {
			own.Servers = append(own.Servers, server{url})
		}
		file.HTTP.Services = map[string]service{route: {own}}
	}
	data, _ := json.MarshalIndent(file, "", "  ") // Strings and slices only: cannot fail.
	return append(data, '\n')
}

func rule(cfg config.Proxy) string {
	prefix := cfg.PathPrefix
	if prefix == "" {
		prefix = "/"
	}
	path := fmt.Sprintf("PathPrefix(`%s`)", prefix)
	if len(cfg.Hosts) == 0 {
		return path
	}
	hosts := make([]string, len(cfg.Hosts))
	for i, h := range cfg.Hosts {
		hosts[i] = fmt.Sprintf("Host(`%s`)", h)
	}
	return "(" + strings.Join(hosts, " || ") + ") && " + path
}
