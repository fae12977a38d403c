package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/traffic"
)

// acmeFolder is the folder of the proxy's container in which Traefik keeps the account
// and the certificates that an authority issued. On the host it lies below the run
// directory, so it outlives the container.
const acmeFolder = "/etc/kstep/acme"

// secureCatchAll are the routers that serve the entry point for HTTPS where no service
// does.
const secureCatchAll = `
      "kstep-catch-all-https": {"rule": "PathPrefix(` + "`/`" + `)", "service": "kstep-nothing", "entryPoints": ["websecure"], "priority": 1, "tls": {}},
      "kstep-health-https": {"rule": "Path(` + "`" + HealthPath + "`" + `)", "service": "ping@internal", "entryPoints": ["websecure"], "priority": 100000, "tls": {}},`

// secureRouters are the names of secureCatchAll's.
func secureRouters() []string {
	return []string{"kstep-catch-all-https@file", "kstep-health-https@file"}
}

// secureArgs are Traefik's options for HTTPS.
func secureArgs(p config.Proxy) map[string]string {
	args := map[string]string{
		"entrypoints.websecure.address":                                  fmt.Sprintf(":%d", traffic.SecurePort),
		"entrypoints.websecure.transport.lifecycle.gracetimeout":         "30s",
		"entrypoints.websecure.transport.respondingtimeouts.readtimeout": p.ReadTimeout.D().String(),
	}
	if p.TLS.HTTP3 {
		args["entrypoints.websecure.http3"] = "true"
		args["entrypoints.websecure.http3.advertisedport"] = fmt.Sprint(p.Publish.HTTPS.Port)
	}
	if trusted := p.TrustedNetworks(); len(trusted) > 0 {
		args["entrypoints.websecure.forwardedheaders.trustedips"] = strings.Join(trusted, ",")
	}
	if !p.TLS.Issued() {
		return args
	}
	acme := p.TLS.ACME
	at := resolverArgs + acme.Resolver() + ".acme."
	args[at+"storage"] = path.Join(acmeFolder, acme.Resolver()+".json")
	if acme.Email != "" {
		args[at+"email"] = acme.Email
	}
	if acme.Directory != "" {
		args[at+"caserver"] = acme.Directory
	}
	if acme.CA != "" {
		args[at+"cacertificates"] = path.Join(acmeFolder, caFile(acme))
	}
	if acme.Challenge == "dns" {
		args[at+"dnschallenge.provider"] = acme.Provider
	} else {
		args[at+"httpchallenge.entrypoint"] = traffic.PlainEntry
	}
	return args
}

const resolverArgs = "certificatesresolvers."

func caFile(acme config.ACME) string { return acme.Resolver() + ".ca.pem" }

// Ports are those of the host that the proxy takes.
func Ports(p config.Proxy) []engine.Port {
	var all []engine.Port
	if at := p.Publish.HTTP; at.Port > 0 {
		all = append(all, engine.Port{Host: at.Port, Container: traffic.PlainPort, Address: at.Address})
	}
	if at := p.Publish.HTTPS; at.Port > 0 && p.TLS.On {
		all = append(all, engine.Port{Host: at.Port, Container: traffic.SecurePort, Address: at.Address})
		if p.TLS.HTTP3 {
			all = append(all, engine.Port{Host: at.Port, Container: traffic.SecurePort, Address: at.Address, UDP: true})
		}
	}
	return all
}

// portsOf names host ports in messages: `80 and 443`.
func portsOf(all []engine.Port) string {
	var names []string
	for _, p := range all {
		if !p.UDP {
			names = append(names, fmt.Sprint(p.Host))
		}
	}
	return strings.Join(names, " and ")
}

// keep adds to a proxy's new container what the routes of the host need of the one that
// runs: a service without HTTPS, or with another authority than its own live route has,
// must not take certificates and ports from what serves.
func keep(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, old engine.Container, spec *engine.Spec) error {
	table, err := traffic.ReadTable(ctx, h, n.RouteDir())
	if err != nil {
		return err
	}
	resolvers, on, others := table.Secure(route.Owner{Service: cfg.Service, Destination: cfg.Destination})
	if !on {
		return nil
	}
	had, have := options(old.Cmd), options(spec.Cmd)
	for name, value := range had {
		resolver, _, _ := strings.Cut(strings.TrimPrefix(name, resolverArgs), ".")
		wanted := strings.HasPrefix(name, "entrypoints.websecure") || strings.HasPrefix(name, resolverArgs) && slices.Contains(resolvers, resolver)
		if _, set := have[name]; wanted && !set {
			have[name] = value
		}
	}
	spec.Cmd = flags(have)
	own := slices.ContainsFunc(spec.Ports, func(p engine.Port) bool { return p.Container == traffic.SecurePort })
	for _, p := range old.Published {
		if p.Container == traffic.SecurePort && (others || !own) && !slices.Contains(spec.Ports, p) {
			spec.Ports = append(spec.Ports, p)
		}
	}
	if !slices.ContainsFunc(spec.Mounts, func(m engine.Mount) bool { return m.Target == acmeFolder }) {
		for _, m := range old.Mounts {
			if m.Target == acmeFolder {
				spec.Mounts = append(spec.Mounts, engine.Mount{Source: m.Source, Target: m.Target})
			}
		}
	}
	if others {
		keepEnv(old, spec)
	}
	return nil
}

// keepEnv keeps the variables of the proxy that runs, such as the token for a neighbour's
// DNS challenge, where the new one has no value of its own.
func keepEnv(old engine.Container, spec *engine.Spec) {
	env := maps.Clone(spec.Env)
	if env == nil {
		env = map[string]string{}
	}
	for _, pair := range old.Env {
		name, value, _ := strings.Cut(pair, "=")
		if _, set := env[name]; !set {
			env[name] = value
		}
	}
	spec.Env = env
}

// neighbours refuses to make a proxy without HTTPS on a host where routes of other
// services need it: they would be down, and the deploy that did it would be a success.
func neighbours(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names) error {
	if cfg.Proxy.TLS.On {
		return nil
	}
	table, err := traffic.ReadTable(ctx, h, n.RouteDir())
	if err != nil {
		return err
	}
	if _, _, others := table.Secure(route.Owner{Service: cfg.Service, Destination: cfg.Destination}); others {
		return exit.With(exit.Failed, fmt.Errorf("another service serves HTTPS on %s, where the proxy is missing: one made for this service would have no port for it", h.Name()),
			"run kstep proxy boot with the configuration of that service first (docs/https.md)")
	}
	return nil
}

// options are a command line of Traefik's as a map.
func options(cmd []string) map[string]string {
	all := map[string]string{}
	for _, arg := range cmd {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		all[config.ArgName(name)] = value
	}
	return all
}

// Lacks returns what an existing proxy lacks for a service with HTTPS, or nil: only
// a new container can open a port or use another authority.
func Lacks(cfg *config.Config, h host.Host, c engine.Container) error {
	missing := lacks(cfg.Proxy, c)
	if missing == "" {
		return nil
	}
	return exit.With(exit.Failed, fmt.Errorf("proxy.tls needs another proxy on %s: %s runs there %s", h.Name(), plan.ProxyContainer, missing),
		"kstep proxy reboot gives it what is missing; requests fail for about half a second on each host, and none behind a load balancer with --rolling and hooks (docs/https.md)")
}

func lacks(p config.Proxy, c engine.Container) string {
	if !p.TLS.On {
		return ""
	}
	have := options(c.Cmd)
	if _, on := have["entrypoints.websecure.address"]; !on {
		return "without a port for HTTPS"
	}
	for name := range secureArgs(p) {
		if _, set := have[name]; !set && strings.HasPrefix(name, resolverArgs) {
			return "with other settings than proxy.tls.acme"
		}
	}
	for _, want := range Ports(p) {
		found := slices.ContainsFunc(c.Published, func(o engine.Port) bool { return o == want })
		if want.Container == traffic.SecurePort && !found {
			return fmt.Sprintf("without port %s", config.Listen{Address: want.Address, Port: want.Host})
		}
	}
	return ""
}

// store makes the folder in which Traefik keeps certificates, and the root certificate
// of an authority of one's own.
func store(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names) error {
	if !cfg.Proxy.TLS.Issued() {
		return nil
	}
	if err := h.Files().Mkdir(ctx, n.ACMEDir(), 0o700); err != nil {
		return err
	}
	acme := cfg.Proxy.TLS.ACME
	if acme.CA == "" {
		return nil
	}
	root, err := os.ReadFile(cfg.Local(acme.CA))
	if errors.Is(err, fs.ErrNotExist) {
		return exit.With(exit.Config, fmt.Errorf("proxy.tls.acme.ca: %w", err), "it is the file of a root certificate on the machine that runs kstep")
	}
	if err != nil {
		return err
	}
	return h.Files().Write(ctx, path.Join(n.ACMEDir(), caFile(acme)), root, 0o600)
}

// orderNothing keeps a trial of the proxy from the authority and from the certificates:
// without port 80 each of its orders would fail and count, and the proxy that runs writes
// the same file. A route whose resolver is missing is served all the same.
func orderNothing(spec *engine.Spec) {
	args := options(spec.Cmd)
	maps.DeleteFunc(args, func(name, _ string) bool { return strings.HasPrefix(name, resolverArgs) })
	spec.Cmd = flags(args)
	spec.Mounts = slices.DeleteFunc(slices.Clone(spec.Mounts), func(m engine.Mount) bool { return m.Target == acmeFolder })
}
