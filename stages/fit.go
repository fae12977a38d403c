package stages

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/proxy"
)

// Fit checks whether the host can take a deploy, as far as that is known before
// there is an image: its engine answers and runs one of the platforms (any, if
// none is given), and no other service has the routes. It returns what the engine
// reports of itself, also with an error, and changes nothing.
func (w *Work) Fit(ctx context.Context, in Input, platforms []string) (engine.Info, error) {
	info, err := w.Host.Engine().Info(ctx)
	if err != nil {
		return info, err
	}
	if len(platforms) > 0 {
		if err := w.runsOneOf(ctx, info, slices.Clone(platforms)); err != nil {
			return info, err
		}
	}
	if _, err := w.owned(ctx); err != nil {
		return info, err
	}
	return info, w.Claims(ctx, in)
}

// ProxyPorts are the ports that the proxy of a host needs.
type ProxyPorts struct {
	// Wanted are those of TCP, by proxy.publish; none on a host without a proxied
	// role.
	Wanted []engine.Port
	// Own reports that the proxy runs, so that it has them.
	Own bool
}

// PortTakenError is a port of the proxy that another program has.
type PortTakenError struct {
	Host string
	Port int
	By   string // The container that publishes it, or a program; empty where that is not known.
}

func (e *PortTakenError) Error() string {
	by := ""
	if e.By != "" {
		by = " by " + e.By
	}
	return fmt.Sprintf("port %d on %s is in use%s, and the proxy does not run there", e.Port, e.Host, by)
}

// plainName is what Docker accepts as the name of a container.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// IsPlain reports whether a name that comes from a host needs no quotes in a command line,
// which the user may copy.
func IsPlain(name string) bool { return plainName.MatchString(name) }

// PortTaken is the error of a port that the named container or program has.
func PortTaken(host string, port int, container, program string) error {
	e, hint := &PortTakenError{host, port, program}, fmt.Sprintf("free port %d, or set another proxy.publish", port)
	if container != "" {
		e.By = "container " + container
	}
	if IsPlain(container) {
		hint = fmt.Sprintf("run on %s: docker stop %s; or set another proxy.publish", host, container)
	}
	return exit.With(exit.Failed, e, hint)
}

// PortsFree refuses a host on which another program listens at a port of the proxy.
func (w *Work) PortsFree(ctx context.Context, in Input) (ProxyPorts, error) {
	var need ProxyPorts
	if !slices.ContainsFunc(in.Targets, func(t plan.Target) bool { return t.Host == w.Target.Host && t.Proxied }) {
		return need, nil
	}
	for _, at := range proxy.Ports(in.Config.Proxy) {
		if !at.UDP { // One of UDP is HTTP/3's, with the number of a port of TCP.
			need.Wanted = append(need.Wanted, at)
		}
	}
	seen, err := proxy.Look(ctx, w.Host, in.Config)
	if err != nil {
		return need, err
	}
	if !seen.Missing {
		need.Own = seen.Container.Running()
		if err := proxy.Lacks(in.Config, w.Host, seen.Container); err != nil || need.Own {
			return need, err
		}
	}
	running, err := w.Host.Engine().Containers(ctx, engine.Filter{})
	if err != nil {
		return need, err
	}
	for _, at := range need.Wanted {
		if name := Publisher(running, at); name != "" {
			return need, PortTaken(w.Target.Host, at.Host, name, "")
		}
		c, err := w.Host.Dial(ctx, "tcp", net.JoinHostPort(cmp.Or(at.Address, "127.0.0.1"), strconv.Itoa(at.Host)))
		if err != nil { // Nothing listens; or forwarding is forbidden, and the engine will say so.
			continue
		}
		c.Close()
		return need, PortTaken(w.Target.Host, at.Host, "", "")
	}
	return need, ctx.Err()
}

// Publisher is the name of the container that keeps others from publishing the port
// of TCP; empty if there is none.
func Publisher(running []engine.Container, want engine.Port) string {
	at := slices.IndexFunc(running, func(c engine.Container) bool {
		return slices.ContainsFunc(c.Published, func(p engine.Port) bool {
			return !p.UDP && p.Host == want.Host && (p.Address == want.Address || p.Address == "" || want.Address == "")
		})
	})
	if at < 0 {
		return ""
	}
	return cmp.Or(running[at].Name, running[at].ID)
}
