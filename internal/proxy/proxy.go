// Package proxy is the Traefik that kstep runs on the hosts of proxied roles:
// its container, its catch-all, and its word. It is shared by all services of
// a host, so a deploy starts it where it is missing but never changes one that
// runs; `kstep proxy reboot` does that.
package proxy

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // Traefik reads this form.
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/envfile"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/traffic"
)

const (
	apiPort = 8080 // Traefik's own; never published on the host.
	routes  = "/etc/kstep/routes"
)

// HealthPath is the request path at which the proxy itself answers 200 for any
// host name, once it serves its routes. A load balancer in front of the hosts
// can check them by it.
const HealthPath = "/.well-known/kstep/health"

// catchAll answers 502 for requests that no service takes: nothing listens on
// the discard port in the proxy's own container. Without it Traefik says 404,
// which looks like the application's answer.
//
// Its other router serves Traefik's API to those who have its password: the port
// is open to all containers on the proxy's networks.
const catchAll = `{
  "http": {
    "routers": {%s
      "kstep-catch-all": {"rule": "PathPrefix(` + "`/`" + `)", "service": "kstep-nothing", "entryPoints": ["web"], "priority": 1},
      "kstep-health": {"rule": "Path(` + "`" + HealthPath + "`" + `)", "service": "ping@internal", "entryPoints": ["web"], "priority": 100000},
      "kstep-api": {"rule": "PathPrefix(` + "`/api`" + `)", "service": "api@internal", "entryPoints": ["traefik"], "middlewares": ["kstep-api"], "priority": 100000}
    },
    "middlewares": {
      "kstep-api": {"basicAuth": {"users": [%q], "removeHeader": true}}
    },
    "services": {
      "kstep-nothing": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9"}]}}
    }
  }
}
`

// apiUser is the user name of Traefik's API.
const apiUser = "kstep"

// apiDigest is the password as Traefik reads it from a file. SHA-1 without salt is
// enough for a random text of 256 bits, and fast: each request is checked.
func apiDigest(password string) string {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // Of a random text.
	return apiUser + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
}

// environment is what env-push left for the proxy, with its fingerprint.
type environment struct {
	values      map[string]string
	fingerprint string
}

func readEnvironment(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names) (environment, error) {
	if cfg.Proxy.Env.IsEmpty() {
		return environment{}, nil
	}
	values, fingerprint, err := envfile.Left(ctx, h.Files(), n.EnvFile(plan.ProxyRole), n.EnvKey())
	if errors.Is(err, fs.ErrNotExist) {
		return environment{}, exit.With(exit.BadState, fmt.Errorf("the proxy's environment is not on %s", h.Name()), "run kstep env push first")
	}
	return environment{values, fingerprint}, err
}

// spec is the proxy's container.
func spec(cfg *config.Config, n plan.Names, env environment) engine.Spec {
	args := map[string]string{
		"entrypoints.web.address":                          fmt.Sprintf(":%d", traffic.PlainPort),
		"entrypoints.web.transport.lifecycle.gracetimeout": "30s",
		"providers.file.directory":                         routes,
		"providers.file.watch":                             "true",
		"providers.providersthrottleduration":              "20ms", // Between two changes, such as those of two roles.
		"api":                                              "true",
		"entrypoints.traefik.address":                      fmt.Sprintf(":%d", apiPort), // Where the catch-all has it.
		"ping":                                             "true",
		"global.checknewversion":                           "false",
		"global.sendanonymoususage":                        "false",
		"serverstransport.forwardingtimeouts.dialtimeout":  traffic.DialTimeout.String(),
		"entrypoints.web.transport.respondingtimeouts.readtimeout": cfg.Proxy.ReadTimeout.D().String(),
	}
	mounts := []engine.Mount{{Source: n.RouteDir(), Target: routes, ReadOnly: true}}
	if cfg.Proxy.Switch == "cord" {
		maps.Copy(args, map[string]string{
			"providers.docker":                  "true",
			"providers.docker.exposedbydefault": "false",
			"providers.docker.network":          plan.Network,
		})
		mounts = append(mounts, engine.Mount{Source: cfg.SSH.DockerSocket, Target: "/var/run/docker.sock", ReadOnly: true})
	}
	if trusted := cfg.Proxy.TrustedNetworks(); len(trusted) > 0 {
		args["entrypoints.web.forwardedheaders.trustedips"] = strings.Join(trusted, ",")
	}
	if cfg.Proxy.TLS.On {
		maps.Copy(args, secureArgs(cfg.Proxy))
	}
	if cfg.Proxy.TLS.Issued() {
		mounts = append(mounts, engine.Mount{Source: n.ACMEDir(), Target: acmeFolder})
	}
	for name, value := range cfg.Proxy.Args { // Which may name one of the above in other letters.
		delete(args, config.ArgName(name))
		args[name] = value
	}
	spec := engine.Spec{
		Name:    plan.ProxyContainer,
		Image:   cfg.Proxy.Image,
		Cmd:     flags(args),
		Labels:  maps.Clone(cfg.Proxy.Labels),
		Mounts:  mounts,
		Network: plan.Network,
		Restart: "unless-stopped",
		Log:     engine.Log{Driver: "json-file", Options: map[string]string{"max-size": "10m"}},
		Env:     env.values, EnvFingerprint: env.fingerprint,
		Ports: Ports(cfg.Proxy),
	}
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	digest := spec.Digest()
	spec.Labels[engine.LabelProxy] = "traefik"
	spec.Labels[engine.LabelSpec] = digest
	return spec
}

func flags(args map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		out = append(out, "--"+name+"="+args[name])
	}
	return out
}

// Booted is what Boot found or did.
type Booted struct {
	Container engine.Container
	Changed   []string
	// Differs reports whether the proxy runs with other settings than the config
	// has.
	Differs bool
}

// Still says in which state the proxy is when Boot changed nothing.
func (b Booted) Still() string {
	switch {
	case b.Container.ID == "":
		return "there is no " + plan.ProxyContainer
	case b.Container.Running():
		return plan.ProxyContainer + " runs"
	}
	return plan.ProxyContainer + " does not run"
}

// Seen is what a host has of the proxy.
type Seen struct {
	// Container is the proxy, if it is there.
	Container engine.Container
	// Missing is set if the proxy is not there, NoImage if its image is not
	// either.
	Missing, NoImage bool
}

// Look observes the proxy, and its image where Boot would need it.
func Look(ctx context.Context, h host.Host, cfg *config.Config) (Seen, error) {
	now, err := h.Engine().Inspect(ctx, plan.ProxyContainer)
	if !errors.Is(err, engine.ErrNotFound) {
		return Seen{Container: now}, err
	}
	_, err = h.Engine().Image(ctx, cfg.Proxy.Image)
	if errors.Is(err, engine.ErrNotFound) {
		return Seen{Missing: true, NoImage: true}, nil
	}
	return Seen{Missing: true}, err
}

// Pull brings an image to the host, with the login of its registry.
type Pull func(ctx context.Context, image string) error

// Boot makes the proxy run where it is missing, and leaves a running one
// alone. It is safe to be called by several services at once.
func Boot(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, pull Pull) (Booted, error) {
	env, err := readEnvironment(ctx, h, cfg, n)
	if err != nil {
		return Booted{}, err
	}
	return boot(ctx, h, cfg, n, env, pull)
}

func boot(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, env environment, pull Pull) (Booted, error) {
	spec := spec(cfg, n, env)
	seen, err := Look(ctx, h, cfg)
	if err != nil {
		return Booted{}, err
	}
	if seen.Missing {
		if !seen.NoImage {
			pull = nil
		}
		return create(ctx, h, cfg, spec, n, pull)
	}
	now := seen.Container
	booted := Booted{Container: now, Differs: now.Labels[engine.LabelSpec] != spec.Labels[engine.LabelSpec]}
	if err := Lacks(cfg, h, now); err != nil {
		return booted, err
	}
	if now.Running() {
		return booted, nil
	}
	if booted.Changed, err = Join(ctx, h, now); err != nil {
		return booted, err
	}
	return start(ctx, h, n, booted, now.Published, nil)
}

// create makes the proxy. pull is nil where its image is on the host.
func create(ctx context.Context, h host.Host, cfg *config.Config, spec engine.Spec, n plan.Names, pull Pull) (Booted, error) {
	if err := neighbours(ctx, h, cfg, n); err != nil {
		return Booted{}, err
	}
	if err := furnish(ctx, h, cfg, n, &spec, ""); err != nil {
		return Booted{}, err
	}
	if _, err := h.Engine().EnsureNetwork(ctx, plan.Network, map[string]string{engine.LabelProxy: "network"}); err != nil {
		return Booted{}, err
	}
	var booted Booted
	if pull != nil {
		if err := pull(ctx, spec.Image); err != nil {
			return Booted{}, err
		}
		booted.Changed = append(booted.Changed, "pulled "+spec.Image)
	}
	id, err := h.Engine().Create(ctx, spec)
	if errors.Is(err, engine.ErrConflict) { // Another service's boot was first.
		id = spec.Name
		var theirs engine.Container
		if theirs, err = h.Engine().Inspect(ctx, id); err == nil {
			err = Lacks(cfg, h, theirs)
		}
	}
	if err != nil {
		return Booted{}, err
	}
	booted.Container.ID = id
	return start(ctx, h, n, booted, spec.Ports, nil)
}

// start starts the proxy's container and waits until it serves. Without an
// expectation, that is what is in the folder it watches.
func start(ctx context.Context, h host.Host, n plan.Names, booted Booted, ports []engine.Port, want *expectation) (Booted, error) {
	if err := h.Engine().Start(ctx, plan.ProxyContainer); err != nil {
		if errors.Is(err, engine.ErrPortTaken) {
			err = exit.Hint(err, fmt.Sprintf("free port %s, or set another proxy.publish", portsOf(ports)))
		}
		return booted, err
	}
	now, err := h.Engine().Inspect(ctx, booted.Container.ID)
	if err != nil {
		return booted, err
	}
	booted.Container = now
	booted.Changed = append(booted.Changed, "started "+plan.ProxyContainer)
	if want == nil {
		stopped := now
		stopped.State = "created" // It serves nothing yet.
		found, err := expect(ctx, h, stopped, Folder(ctx, h, now, n))
		if err != nil {
			return booted, err
		}
		want = &found
	}
	return booted, serve(ctx, h, now, *want)
}

// WatchesDocker reports whether the proxy has the engine's socket, without
// which it cannot follow the containers' health.
func WatchesDocker(c engine.Container) bool {
	return slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool { return m.Target == "/var/run/docker.sock" })
}

// furnish makes what the proxy's container needs: the folder it watches, with the
// catch-all in it, the password of its API, and the networks that it joins. had is
// the password of the proxy that runs, which reads the same catch-all.
func furnish(ctx context.Context, h host.Host, cfg *config.Config, n plan.Names, spec *engine.Spec, had string) error {
	// First, so that other accounts of a shared run directory may look into it: what is
	// made for the key is closed.
	if err := h.Files().Mkdir(ctx, n.RouteDir(), 0o755); err != nil {
		return err
	}
	if err := store(ctx, h, cfg, n); err != nil {
		return err
	}
	key, err := envfile.Key(ctx, h.Files(), n.ProxyKey())
	if err != nil {
		return err
	}
	// The container brings it to every kstep that inspects the proxy, without
	// another round trip. Those who can read labels have root's rights on the host.
	password := cmp.Or(had, hex.EncodeToString(key))
	spec.Labels[engine.LabelProxyAPI] = password
	if spec.Networks, err = Networks(ctx, h); err != nil {
		return err
	}
	secure := ""
	if _, on := options(spec.Cmd)["entrypoints.websecure.address"]; on {
		secure = secureCatchAll
	}
	return h.Files().Write(ctx, path.Join(n.RouteDir(), plan.CatchAllFile), fmt.Appendf(nil, catchAll, secure, apiDigest(password)), 0o644)
}
