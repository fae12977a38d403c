package stages

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/ledger"
	"github.com/kstep/kstep/internal/plan"
)

// Gone is a role that is not configured on the work's host any more, as a
// target. It received traffic if the ledger says so or its route is still there.
func (w *Work) Gone(ctx context.Context, in Input, role string, book ledger.Ledger) (plan.Target, error) {
	proxied, known := book.IsProxied(role)
	if !known {
		_, err := w.Host.Files().Stat(ctx, w.Names.RouteFile(role))
		if proxied = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
			return plan.Target{}, err
		}
	}
	return gone(in, w.Target.Host, role, proxied, book), nil
}

// gone has what the host's ledger says of the role, and else the settings of the
// role that took over.
func gone(in Input, host, role string, proxied bool, book ledger.Ledger) plan.Target {
	like, _ := plan.Successor(in.All, host, proxied)
	own := like.Role
	if like.Proxied != proxied {
		own = config.Role{Start: "with-boot"}
	}
	own.Name, own.Hosts, own.Replicas, own.Proxy = role, []config.Host{{Name: host}}, 1, &proxied
	kind, known := book.Kind(role)
	if known {
		own.Start = "with-boot"
		if kind.AfterBarrier {
			own.Start = "after-barrier"
		}
		own = AsServed(in.Config, own, kind)
	}
	return plan.Target{Host: host, Role: own, Proxied: proxied, Primary: kind.Primary}
}

// AsServed is the role with the port, the scheme and the path at which its
// containers of an earlier release are reached: the configuration may have others
// by now.
func AsServed(cfg *config.Config, role config.Role, was ledger.Role) config.Role {
	now := cfg.EffectiveHealthcheck(role)
	health := now
	health.Port = cmp.Or(was.Port, now.Port)
	health.Scheme = cmp.Or(was.Scheme, now.Scheme)
	health.Path = cmp.Or(was.Path, now.Path)
	if !sameAddress(health, now) {
		role.Healthcheck = &health
	}
	return role
}

func sameAddress(a, b config.Healthcheck) bool {
	return a.Port == b.Port && a.Scheme == b.Scheme && a.Path == b.Path
}
