package traffic

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/short"
)

// routes replaces one file in the folder that the proxy watches. One rename
// takes the traffic from the old containers and gives it to the new ones, so
// there is no moment with both and none with neither.
type routes struct {
	Role
	file ownFile
}

var _ Switch = (*routes)(nil)

func (s *routes) Live(ctx context.Context, containers []engine.Container) ([]string, error) {
	now, ok, err := s.file.read(ctx, s.Role)
	if err != nil || !ok {
		return nil, err
	}
	var live []string
	for _, c := range containers {
		if leadsTo(now.urls(s.Names.Route(s.Name)), c) {
			live = append(live, c.ID)
		}
	}
	return live, nil
}

// leadsTo reports whether one of the servers is the container, at whichever port
// and scheme: the route may be older than the configuration.
func leadsTo(servers []string, c engine.Container) bool {
	return slices.ContainsFunc(servers, func(server string) bool {
		u, err := url.Parse(server)
		return err == nil && u.Hostname() == short.Of(c.ID)
	})
}

func (s *routes) Current(ctx context.Context, replicas []engine.Container) (bool, error) {
	now, ok, err := s.file.read(ctx, s.Role)
	return err == nil && ok && now.is(s.options(replicas)), err
}

func (s *routes) options(replicas []engine.Container) routeOptions {
	name := s.Names.Route(s.Name)
	return routeOptions{
		Name: name, Claim: s.claim(), Service: name, Servers: s.urls(replicas), Mark: s.Mark(replicas), Transport: s.transport(),
		HTTPS: httpsOf(s.Config.Proxy), Further: furtherOf(s.Config.Proxy), closure: s.closure,
	}
}

func (s *routes) Mark(replicas []engine.Container) string {
	return route.Mark(append(engine.IDs(replicas), s.settings()...))
}

func (s *routes) Admit(ctx context.Context, replicas []engine.Container) error {
	name := s.Names.Route(s.Name)
	urls := s.urls(replicas)
	return s.file.claim(ctx, s.Role, s.options(replicas), func(ctx context.Context) error {
		only := func(now []string, known bool) bool {
			return known && sameServers(now, urls)
		}
		if err := s.confirm(ctx, name+"@file", only); err != nil {
			return fmt.Errorf("wait for the proxy to route to %s: %w", engine.NamesOf(replicas), err)
		}
		return s.works(ctx, name)
	})
}

// Dismiss has nothing to do: Admit replaced the old containers and waited for
// the proxy to name the new ones alone.
func (s *routes) Dismiss(context.Context, []engine.Container) error { return nil }

func (s *routes) Return(ctx context.Context, had, _ []engine.Container) (bool, error) {
	restored, err := s.file.restore(ctx, s.Role)
	if err != nil || !restored || len(had) == 0 {
		return restored, err
	}
	return true, s.confirm(ctx, s.Names.Route(s.Name)+"@file", func(now []string, known bool) bool {
		return known && !slices.ContainsFunc(had, func(c engine.Container) bool { return !leadsTo(now, c) })
	})
}

func sameServers(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func (s *routes) urls(replicas []engine.Container) []string {
	var all []string
	for _, c := range replicas {
		all = append(all, s.url(c))
	}
	return all
}

// url names the container by its id on a network that the proxy is in: Docker's DNS follows
// it through restarts of container, engine and host, when addresses change.
func (s *routes) url(c engine.Container) string {
	return s.upstream(short.Of(c.ID))
}
