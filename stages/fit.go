package stages

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
)

// Fit checks whether the host can take a deploy, as far as that is known before
// there is an image: its engine answers and runs one of the platforms (any, if
// none is given), no other service has the routes, and nothing else has the
// proxy's port. It returns the engine's version, and changes nothing.
func (w *Work) Fit(ctx context.Context, in Input, platforms []string) (engine string, err error) {
	info, err := w.Host.Engine().Info(ctx)
	if err != nil {
		return "", err
	}
	if len(platforms) > 0 {
		if err := w.runsOneOf(ctx, info, slices.Clone(platforms)); err != nil {
			return "", err
		}
	}
	if _, err := w.owned(ctx); err != nil {
		return "", err
	}
	if err := w.Claims(ctx, in); err != nil {
		return "", err
	}
	return info.Version, w.portIsFree(ctx, in)
}

// portIsFree refuses a host on which another program listens at the proxy's port.
func (w *Work) portIsFree(ctx context.Context, in Input) error {
	proxied := slices.ContainsFunc(in.Targets, func(t plan.Target) bool { return t.Host == w.Target.Host && t.Proxied })
	if !proxied {
		return nil
	}
	seen, err := proxy.Look(ctx, w.Host, in.Config)
	if err != nil {
		return err
	}
	if !seen.Missing {
		if err := proxy.Lacks(in.Config, w.Host, seen.Container); err != nil || seen.Container.Running() {
			return err
		}
	}
	for _, at := range proxy.Ports(in.Config.Proxy) {
		if at.UDP { // Of HTTP/3, with the number of a port of TCP.
			continue
		}
		c, err := w.Host.Dial(ctx, "tcp", net.JoinHostPort(cmp.Or(at.Address, "127.0.0.1"), strconv.Itoa(at.Host)))
		if err != nil { // Nothing listens; or forwarding is forbidden, and the engine will say so.
			continue
		}
		c.Close()
		return exit.With(exit.Failed,
			fmt.Errorf("port %d on %s is in use, and the proxy does not run there", at.Host, w.Target.Host),
			fmt.Sprintf("free port %d, or set another proxy.publish", at.Host))
	}
	return ctx.Err()
}
