package stages

import (
	"context"
	"errors"
	"slices"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/ready"
	"github.com/kstep/kstep/internal/traffic"
)

// RoleLabels select the containers of a role, or with an empty name of all
// roles, of this service and destination only.
func RoleLabels(cfg *config.Config, role string) map[string]string {
	labels := map[string]string{
		engine.LabelService:     cfg.Service,
		engine.LabelDestination: cfg.Destination,
	}
	if role != "" {
		labels[engine.LabelRole] = role
	}
	return labels
}

// Switch is the traffic switch of the work's role on its host. With a nil word
// it can find what is live, and moves with a fixed delay.
func Switch(in Input, w *Work, word traffic.Word) traffic.Switch {
	return SwitchAmong(nil, in, w, word)
}

// SwitchAmong is Switch where the host's routes have been read already.
func SwitchAmong(table *traffic.Table, in Input, w *Work, word traffic.Word) traffic.Switch {
	return traffic.For(traffic.Role{
		Host: w.Host, Names: w.Names, Name: w.Target.Role.Name, Config: in.Config,
		Health: in.Config.EffectiveHealthcheck(w.Target.Role), Certificate: in.Config.CertificateName(w.Target.Role), Word: word, Table: table,
	})
}

// Ready is how a container of the work's role is found ready.
func Ready(in Input, w *Work, id string) ready.Check {
	role := w.Target.Role
	return ready.Check{
		Host: w.Host, Container: id, Target: w.Target,
		Health: in.Config.EffectiveHealthcheck(role), Name: in.Config.HealthHost(role), Certificate: in.Config.CertificateName(role),
	}
}

// Serving reports whether the container is one in service: it gets traffic
// or, for a role without proxy, the ledger names it. A stage that cleans up
// never stops it.
func Serving(ctx context.Context, in Input, w *Work, c engine.Container) (bool, error) {
	book, err := ledger.Read(ctx, w.Host.Files(), w.Names.Ledger())
	if err != nil {
		return false, err
	}
	if slices.Contains(book.Live(w.Target.Role.Name), c.ID) {
		return true, nil
	}
	if !w.Target.Proxied {
		return false, nil
	}
	live, err := Switch(in, w, nil).Live(ctx, []engine.Container{c})
	return slices.Contains(live, c.ID), err
}

// Proxy is the host's proxy, and false where kstep runs none.
func Proxy(ctx context.Context, w *Work) (engine.Container, bool, error) {
	c, err := w.Host.Engine().Inspect(ctx, plan.ProxyContainer)
	if errors.Is(err, engine.ErrNotFound) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	return c, c.Running(), nil
}

// Word queries the host's proxy. It is nil if the proxy does not run.
func Word(w *Work, c engine.Container, runs bool) traffic.Word {
	if !runs {
		return nil
	}
	return proxy.NewWord(w.Host, c)
}

// Unroute removes a role's route, which the config need not know any more, and
// waits for the proxy to confirm that. Where no proxy runs nothing has to.
func Unroute(ctx context.Context, w *Work, role string, word traffic.Word) error {
	if word == nil {
		return w.Host.Files().Remove(ctx, host.Inside(w.Names.ProxyDir(), w.Names.RouteFile(role)))
	}
	return traffic.Role{Host: w.Host, Names: w.Names, Name: role, Word: word}.RemoveRoute(ctx)
}
