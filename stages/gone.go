package stages

import (
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// Gone is a role that is not configured on a host any more, as a target: with
// what the host's ledger says of it, and else with the settings of the role that
// took over.
func Gone(in Input, host, role string, proxied bool, book ledger.Ledger) plan.Target {
	like, _ := plan.Successor(in.All, host, proxied)
	own := like.Role
	if like.Proxied != proxied {
		own = config.Role{Start: "with-boot"}
	}
	own.Name, own.Hosts, own.Replicas, own.Proxy = role, []config.Host{{Name: host}}, 1, &proxied
	if kind, ok := book.Kind(role); ok {
		own.Start = "with-boot"
		if kind.AfterBarrier {
			own.Start = "after-barrier"
		}
		if health := in.Config.EffectiveHealthcheck(own); kind.Port > 0 && kind.Port != health.Port {
			health.Port = kind.Port
			own.Healthcheck = &health
		}
	}
	return plan.Target{Host: host, Role: own, Proxied: proxied}
}
