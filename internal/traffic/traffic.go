// Package traffic moves a role's traffic on one host from old containers to
// new ones, and knows what is live. There are two ways, the same to a stage:
// routes (a file the proxy watches) and cord (Docker health that the proxy
// follows). It starts and stops no container.
package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
)

// Switch moves traffic of one role on one host. Every method may be repeated;
// each returns only when the proxy itself confirmed, or ctx ended.
type Switch interface {
	// Live are the ids, among the given containers, that get traffic now.
	Live(ctx context.Context, containers []engine.Container) ([]string, error)
	// Current reports whether the role's route on the host is the configured one,
	// if these are all the containers that have traffic.
	Current(ctx context.Context, replicas []engine.Container) (bool, error)
	// Mark is the value of the response header route.Header once the containers
	// have the traffic.
	Mark(replicas []engine.Container) string
	// Admit lets traffic reach the containers, all the replicas of the role
	// that are to have it. It is refused, before it changes anything, where
	// another owner has a route for some of the requests.
	Admit(ctx context.Context, replicas []engine.Container) error
	// Dismiss takes the traffic away from the old containers, after Admit has
	// given it to others. They finish what they have.
	Dismiss(ctx context.Context, old []engine.Container) error
	// Return makes up for Admit: the route becomes what it was before, the
	// containers that had traffic have it again, and the others have none. It
	// returns false where Admit was refused and changed nothing.
	Return(ctx context.Context, had, down []engine.Container) (bool, error)
}

// Role is what a switch knows of its role on its host.
type Role struct {
	Host   host.Host
	Names  plan.Names
	Name   string
	Config *config.Config
	Health config.Healthcheck
	// Certificate is the name that the application's certificate must have,
	// with `scheme: https`.
	Certificate string
	// Word queries the proxy for the servers that it sends traffic to. Nil where
	// it cannot be queried: then kstep waits for settle.
	Word Word
	// Table is what the host's routes were a moment ago; nil has Admit read it.
	Table *Table
}

// Word queries the proxy. Servers returns the URLs that the named service sends
// traffic to, and false when the proxy does not know the service.
type Word interface {
	Servers(ctx context.Context, service string) (urls []string, known bool, err error)
	// Router returns the service that the named router leads to, or "".
	Router(ctx context.Context, router string) (service string, err error)
	// Middlewares returns those of the named router, in order, with or without the
	// provider in their names.
	Middlewares(ctx context.Context, router string) ([]string, error)
	// Broken returns why the proxy does not serve the named router, or "".
	Broken(ctx context.Context, router string) (reason string, err error)
}

// upstream is the URL at which the proxy reaches a container.
func (r Role) upstream(address string) string {
	return fmt.Sprintf("%s://%s:%d", cmp.Or(r.Health.Scheme, "http"), address, r.Health.Port)
}

// For returns the switch that the config selects.
func For(r Role) Switch {
	if r.Config.Proxy.Switch == "cord" {
		return &cordSwitch{Role: r}
	}
	return &routes{Role: r}
}

// askPause is the pause between two requests to the proxy's API, which does not
// report changes by itself. A request is one round trip on the host.
const askPause = 20 * time.Millisecond

// settle is the wait where the proxy cannot be queried: the default
// providersThrottleDuration of Traefik is 2 s, and it applies twice.
const settle = 5 * time.Second

// confirm queries until the service's servers satisfy done; known is false
// while the proxy has no such service.
func (r Role) confirm(ctx context.Context, service string, done func(urls []string, known bool) bool) error {
	return r.poll(ctx, func() (bool, error) {
		urls, known, err := r.Word.Servers(ctx, service)
		return err == nil && done(urls, known), err
	})
}

// confirmRouter queries until the router leads to the service.
func (r Role) confirmRouter(ctx context.Context, router, service string) error {
	return r.poll(ctx, func() (bool, error) {
		now, err := r.Word.Router(ctx, router)
		return err == nil && now == service, err
	})
}

// poll repeats a query until its result is true. A proxy that does not answer is
// queried again until ctx ends; then the last error is returned.
func (r Role) poll(ctx context.Context, question func() (bool, error)) error {
	if r.Word == nil {
		return wait(ctx, settle)
	}
	for {
		yes, err := question()
		if yes {
			return nil
		}
		if ended := wait(ctx, askPause); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
