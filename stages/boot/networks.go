package boot

import (
	"context"
	"slices"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/network"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// needs are what the targets of the work's host want of networks.
func needs(in stages.Input, w *stages.Work) network.Needs {
	var all network.Needs
	for _, t := range in.Targets {
		if t.Host != w.Target.Host {
			continue
		}
		all.Further = append(all.Further, in.Config.EffectiveNetworks(t.Role)...)
		all.Addresses = all.Addresses || t.Role.Options.IP != "" || t.Role.Options.IP6 != ""
	}
	return all
}

// connect makes the networks that are missing, and connects the proxy and the
// accessories to the service's. A deploy that changes nothing finds them so.
func connect(ctx context.Context, w *stages.Work, seen network.Seen, front engine.Container) error {
	made, err := network.Make(ctx, w.Host, w.Names, seen)
	for _, name := range made {
		w.Made(making(name))
	}
	if err != nil {
		return err
	}
	if outside(w, front) {
		if err := w.Host.Engine().Connect(ctx, front.ID, w.Names.Network(), nil); err != nil {
			return err
		}
		w.Made(connecting(plan.ProxyContainer, w.Names.Network()))
	}
	for _, c := range seen.Outside {
		if err := network.Join(ctx, w.Host, w.Names, c); err != nil {
			return err
		}
		w.Made(connecting(c.Name, w.Names.Network()))
	}
	return nil
}

// foreseeConnect is connect without the act.
func foreseeConnect(w *stages.Work, seen network.Seen, front engine.Container) {
	for _, name := range seen.Missing {
		w.Intend(making(name))
	}
	if outside(w, front) {
		w.Intend(connecting(plan.ProxyContainer, w.Names.Network()))
	}
	for _, c := range seen.Outside {
		w.Intend(connecting(c.Name, w.Names.Network()))
	}
}

// outside reports whether there is a proxy, and it is not in the service's network.
func outside(w *stages.Work, front engine.Container) bool {
	return front.ID != "" && !slices.Contains(front.Networks, w.Names.Network())
}

func making(network string) stages.Act { return stages.To(stages.Make, "network %s", network) }

func connecting(container, network string) stages.Act {
	return stages.To(stages.Connect, "%s to network %s", container, network)
}
