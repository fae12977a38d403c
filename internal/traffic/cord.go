package traffic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/plan"
)

// cordSwitch ties and cuts cords: the proxy follows Docker's health, and the
// cord is half of it. For a moment both generations get traffic.
type cordSwitch struct{ Role }

var _ Switch = (*cordSwitch)(nil)

func (s *cordSwitch) Live(ctx context.Context, containers []engine.Container) ([]string, error) {
	routed, err := s.routed(ctx)
	if err != nil || !routed {
		return nil, err
	}
	var live []string
	for _, c := range containers {
		dir := cord.Dir(c, s.Names.CordPrefix(s.Name))
		if dir == "" || !c.Running() {
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
		if err := s.waitHealth(ctx, c, "healthy"); err != nil {
			return err
		}
		url := s.url(c)
		if err := s.confirm(ctx, s.service(), func(urls []string) bool { return slices.Contains(urls, url) }); err != nil {
			return fmt.Errorf("wait for the proxy to route to %s: %w", c.Name, err)
		}
	}
	// The router comes last: before, it may still name the routes of a release
	// that was deployed with the other switch.
	return s.writeRouter(ctx)
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
		if err := s.confirm(ctx, s.service(), func(urls []string) bool { return !slices.Contains(urls, url) }); err != nil {
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
// for all containers; their labels only say the port.
func (s *cordSwitch) writeRouter(ctx context.Context) error {
	routed, err := s.routed(ctx)
	if err != nil || routed {
		return err
	}
	if err := s.Host.Files().WriteVia(ctx, s.Names.ProxyDir(), s.Names.RouteFile(s.Name), s.router(), 0o644); err != nil {
		return err
	}
	if err := s.confirmRouter(ctx, s.Names.Route(s.Name)+"@file", s.service()); err != nil {
		return fmt.Errorf("wait for the proxy to take the route: %w", err)
	}
	return nil
}

// routed tells whether the router is written as this release wants it.
func (s *cordSwitch) routed(ctx context.Context) (bool, error) {
	now, err := s.Host.Files().Read(ctx, s.Names.RouteFile(s.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return bytes.Equal(now, s.router()), nil
}

func (s *cordSwitch) router() []byte {
	return routeTo(s.Names.Route(s.Name), s.Config.Proxy, s.service())
}

func (s *cordSwitch) service() string { return s.Names.Route(s.Name) + "@docker" }

func (s *cordSwitch) url(c engine.Container) string {
	return fmt.Sprintf("http://%s:%d", c.Addresses[plan.Network], s.Health.Port)
}
