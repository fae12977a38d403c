package proxy

import (
	"context"
	"errors"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/network"
	"github.com/kstep/kstep/internal/plan"
)

// Networks are those of all services of the host that have containers: a proxy that
// is created joins them.
func Networks(ctx context.Context, h host.Host) ([]string, error) {
	all, err := h.Engine().Containers(ctx, engine.Filter{Labeled: []string{engine.LabelService, engine.LabelRole}, All: true})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range network.Of(all) {
		have, err := h.Engine().Networks(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(have) > 0 { // Else only containers that do not run are in it.
			found = append(found, name)
		}
	}
	return found, nil
}

// Join connects the proxy to the networks of all services of the host that it is
// not in. It goes on meanwhile if it runs.
func Join(ctx context.Context, h host.Host, c engine.Container) (changed []string, err error) {
	want, err := Networks(ctx, h)
	if err != nil {
		return nil, err
	}
	return connect(ctx, h, c, want)
}

func connect(ctx context.Context, h host.Host, c engine.Container, want []string) (changed []string, err error) {
	for _, name := range c.Outside(want) {
		if name == plan.Network {
			continue
		}
		err := h.Engine().Connect(ctx, c.ID, name, nil)
		if errors.Is(err, engine.ErrNetworkMissing) { // Its service was removed just now.
			continue
		}
		if err != nil {
			return changed, err
		}
		changed = append(changed, "connected "+plan.ProxyContainer+" to network "+name)
	}
	return changed, nil
}
