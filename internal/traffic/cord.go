package traffic

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/route"
)

// cordSwitch ties and cuts cords: the proxy follows Docker's health, and the
// cord is half of it. For a moment both generations get traffic.
type cordSwitch struct {
	Role
	file ownFile
	tied bool // Admit has begun to tie cords.
}

var _ Switch = (*cordSwitch)(nil)

func (s *cordSwitch) Live(ctx context.Context, containers []engine.Container) ([]string, error) {
	routed, err := s.routed(ctx)
	if err != nil || routed == "" {
		return nil, err
	}
	var live []string
	for _, c := range containers {
		dir := cord.Dir(c, s.Names.CordPrefix(s.Name))
		if dir == "" || !c.Running() || s.service(c) != routed {
			continue
		}
		tied, err := cord.Tied(ctx, s.Host.Files(), dir)
		if err != nil {
			return nil, err
		}
		if tied {
			live = append(live, c.ID)
		}
	}
	return live, nil
}

func (s *cordSwitch) Admit(ctx context.Context, replicas []engine.Container) error {
	if _, _, err := s.checked(ctx); err != nil {
		return err
	}
	s.tied = true
	if err := s.tie(ctx, replicas); err != nil {
		return err
	}
	if len(replicas) == 0 {
		return nil
	}
	// The router comes last: before, it may still name the routes of a release
	// that was deployed with the other switch, or by an earlier version of kstep.
	return s.writeRouter(ctx, s.service(replicas[0]))
}

// tie makes the containers healthy, and waits until the proxy has noticed.
func (s *cordSwitch) tie(ctx context.Context, replicas []engine.Container) error {
	for _, c := range replicas {
		dir := cord.Dir(c, s.Names.CordPrefix(s.Name))
		if dir == "" {
			return fmt.Errorf("container %s has no cord: it was made with another proxy.switch", c.Name)
		}
		if err := cord.Tie(ctx, s.Host.Files(), dir); err != nil {
			return err
		}
	}
	for _, c := range replicas {
		if service := s.service(c); service != s.service(replicas[0]) {
			return fmt.Errorf("containers %s and %s have labels of two versions of kstep: run kstep redeploy", replicas[0].Name, c.Name)
		}
		if err := s.waitHealth(ctx, c, "healthy"); err != nil {
			return err
		}
		url := s.url(c)
		admitted := func(urls []string, known bool) bool { return known && slices.Contains(urls, url) }
		if err := s.confirm(ctx, s.service(c), admitted); err != nil {
			return fmt.Errorf("wait for the proxy to route to %s: %w", c.Name, err)
		}
	}
	return nil
}

func (s *cordSwitch) Dismiss(ctx context.Context, old []engine.Container) error {
	for _, c := range old {
		dir := cord.Dir(c, s.Names.CordPrefix(s.Name))
		if dir == "" {
			continue
		}
		if err := cord.Cut(ctx, s.Host.Files(), dir); err != nil {
			return err
		}
	}
	for _, c := range old {
		if !c.Running() || cord.Dir(c, s.Names.CordPrefix(s.Name)) == "" {
			continue
		}
		if err := s.waitHealth(ctx, c, "unhealthy"); err != nil {
			return err
		}
		url := s.url(c)
		// The proxy forgets a service that has no container left.
		dismissed := func(urls []string, known bool) bool { return !known || !slices.Contains(urls, url) }
		if err := s.confirm(ctx, s.service(c), dismissed); err != nil {
			return fmt.Errorf("wait for the proxy to leave %s: %w", c.Name, err)
		}
	}
	return nil
}

// waitHealth follows the engine's events. A container that ended meanwhile
// gets no traffic either, so it counts as unhealthy.
func (s *cordSwitch) waitHealth(ctx context.Context, c engine.Container, want string) error {
	said := ""
	err := s.Host.Engine().WaitFor(ctx, c.ID, func(now engine.Container) (bool, error) {
		if len(now.HealthLog) > 0 && want == "healthy" {
			said = now.HealthLog[len(now.HealthLog)-1]
		}
		if !now.Running() {
			if want == "unhealthy" {
				return true, nil
			}
			return false, fmt.Errorf("it ended with exit status %d", now.ExitCode)
		}
		return now.Health == want, nil
	})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && said != "" {
		return fmt.Errorf("wait for %s to be %s: its health check says: %s: %w", c.Name, want, said, err)
	}
	return fmt.Errorf("wait for %s to be %s: %w", c.Name, want, err)
}

// writeRouter keeps the router in kstep's own file, where one definition holds
// for all containers; their labels only say the port and the transport.
func (s *cordSwitch) writeRouter(ctx context.Context, service string) error {
	current, err := s.leadsTo(ctx, service)
	if err != nil || current {
		return err
	}
	name := s.Names.Route(s.Name)
	return s.file.claim(ctx, s.Role, s.options(service), func(ctx context.Context) error {
		if err := s.confirmRouter(ctx, name+"@file", service); err != nil {
			return fmt.Errorf("wait for the proxy to take the route: %w", err)
		}
		return s.works(ctx, name)
	})
}

// routed is the service that the router leads to, or "" without a router.
func (s *cordSwitch) routed(ctx context.Context) (string, error) {
	now, _, err := s.file.read(ctx, s.Role)
	return now.HTTP.Routers[s.Names.Route(s.Name)].Service, err
}

func (s *cordSwitch) Current(ctx context.Context, replicas []engine.Container) (bool, error) {
	if len(replicas) == 0 {
		return false, nil
	}
	return s.leadsTo(ctx, s.service(replicas[0]))
}

// leadsTo reports whether the route is the wanted one. Of the containers it
// depends on their labels only: the router leads to all whose cord is tied.
func (s *cordSwitch) leadsTo(ctx context.Context, service string) (bool, error) {
	now, ok, err := s.file.read(ctx, s.Role)
	return err == nil && ok && now.is(s.options(service)), err
}

func (s *cordSwitch) options(service string) routeOptions {
	return routeOptions{
		Name: s.Names.Route(s.Name), Claim: s.claim(), Service: service, Mark: s.Mark(nil), Transport: s.transport(),
		HTTPS: httpsOf(s.Config.Proxy), Further: furtherOf(s.Config.Proxy), closure: s.closure,
	}
}

func (s *cordSwitch) Mark([]engine.Container) string {
	return route.Mark(append([]string{s.Names.Route(s.Name)}, s.settings()...))
}

func (s *cordSwitch) Return(ctx context.Context, had, down []engine.Container) (bool, error) {
	if !s.tied {
		return false, nil
	}
	if err := s.tie(ctx, had); err != nil {
		return true, err
	}
	if _, err := s.file.restore(ctx, s.Role); err != nil || len(had) == 0 {
		return true, err
	}
	return true, s.Dismiss(ctx, down)
}

// service is the load balancer that the container's labels make. Versions of
// kstep before the drain was observed named it like the route.
func (s *cordSwitch) service(c engine.Container) string {
	name := s.Names.Route(s.Name)
	if own := s.Names.CordService(s.Name); c.Labels["traefik.http.services."+own+".loadbalancer.server.port"] != "" {
		name = own
	}
	return name + "@docker"
}

// url is where the proxy reaches the container: its own labels say at which port,
// whatever the configuration has by now.
func (s *cordSwitch) url(c engine.Container) string {
	of := s.Role
	server := "traefik.http.services." + strings.TrimSuffix(s.service(c), "@docker") + ".loadbalancer.server."
	if port, err := strconv.Atoi(c.Labels[server+"port"]); err == nil {
		of.Health.Port, of.Health.Scheme = port, c.Labels[server+"scheme"]
	}
	return of.upstream(plan.Address(c))
}
