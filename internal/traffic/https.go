package traffic

import (
	"context"
	"slices"
	"strconv"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/route"
)

// The names of what a route has for HTTPS end with these.
const (
	secureSuffix   = "-https"
	redirectSuffix = "-redirect"
	hstsSuffix     = "-hsts"
)

// The proxy's entry points, and the ports of its container that they listen on.
const (
	PlainEntry  = "web"
	SecureEntry = "websecure"
	PlainPort   = 80
	SecurePort  = 443
)

// https is how a route serves HTTPS; the zero value serves plain HTTP alone.
type https struct {
	On bool
	// Resolver is the certificate resolver of Traefik that gets the certificates; empty
	// where they are files.
	Resolver string
	// Redirect sends plain HTTP to HTTPS.
	Redirect bool
	// Port is the host's port for HTTPS, as clients know it.
	Port       int
	HSTS       bool
	MinVersion string
}

// httpsOf is how the configuration wants its service to be served.
func httpsOf(p config.Proxy) https {
	if !p.TLS.On {
		return https{}
	}
	h := https{On: true, Redirect: p.TLS.Redirect, Port: p.Publish.HTTPS.Port, HSTS: p.TLS.HSTS, MinVersion: p.TLS.MinVersion}
	if p.TLS.Issued() {
		h.Resolver = p.TLS.ACME.Resolver()
	}
	if h.Port == 0 { // Something in front of the hosts passes TLS on.
		h.Port = SecurePort
	}
	return h
}

// The parts of Traefik's dynamic configuration for TLS:
// https://doc.traefik.io/traefik/reference/routing-configuration/http/tls/overview/
type (
	tlsSection struct {
		Options map[string]tlsOptions `json:"options,omitempty"`
	}
	tlsOptions struct {
		MinVersion string `json:"minVersion"`
	}
	routerTLS struct {
		Resolver string   `json:"certResolver,omitempty"`
		Domains  []domain `json:"domains,omitempty"`
		Options  string   `json:"options,omitempty"`
	}
	domain struct {
		Main string `json:"main"`
	}
	redirect struct {
		Scheme    string `json:"scheme"`
		Port      string `json:"port,omitempty"`
		Permanent bool   `json:"permanent"`
	}
)

// into adds to a route with plain routers those for HTTPS.
func (h https) into(file *routeFile, name string, claim route.Claim) {
	tls := routerTLS{Resolver: h.Resolver}
	if h.Resolver != "" { // One certificate for each: of a name that fails, the others do not suffer.
		for _, host := range claim.Hosts {
			tls.Domains = append(tls.Domains, domain{host})
		}
	}
	if h.MinVersion == "1.3" {
		tls.Options = name
		file.TLS = &tlsSection{Options: map[string]tlsOptions{name: {"VersionTLS13"}}}
	}
	if h.HSTS {
		file.HTTP.Middlewares[name+hstsSuffix] = setsHeader("Strict-Transport-Security", "max-age=31536000")
	}
	for _, rule := range claim.Rules() {
		plain := file.HTTP.Routers[name+rule.Suffix]
		secure := plain
		secure.EntryPoints, secure.TLS = []string{SecureEntry}, &tls
		if h.HSTS {
			secure.Middlewares = slices.Insert(slices.Clone(secure.Middlewares), 1, name+hstsSuffix)
		}
		file.HTTP.Routers[name+rule.Suffix+secureSuffix] = secure
	}
	if h.Redirect {
		h.redirect(file, name, claim)
	}
}

// redirect makes the plain routers of a route redirect to HTTPS.
func (h https) redirect(file *routeFile, name string, claim route.Claim) {
	to := redirect{Scheme: "https", Permanent: true}
	if h.Port != SecurePort {
		to.Port = strconv.Itoa(h.Port)
	}
	file.HTTP.Middlewares[name+redirectSuffix] = middleware{Redirect: &to}
	for _, rule := range claim.Rules() {
		plain := file.HTTP.Routers[name+rule.Suffix]
		plain.Middlewares = slices.Insert(slices.Clone(plain.Middlewares), 1, name+redirectSuffix) // Behind the mark.
		file.HTTP.Routers[name+rule.Suffix] = plain
	}
}

// https is how the route serves HTTPS.
func (p parsedRoute) https(name string) https {
	router, on := p.HTTP.Routers[name+secureSuffix]
	if !on || router.TLS == nil {
		return https{}
	}
	h := https{On: true, Resolver: router.TLS.Resolver, Port: SecurePort, MinVersion: "1.2"}
	_, h.HSTS = p.HTTP.Middlewares[name+hstsSuffix]
	if p.TLS != nil && router.TLS.Options != "" && p.TLS.Options[router.TLS.Options].MinVersion == "VersionTLS13" {
		h.MinVersion = "1.3"
	}
	if to := p.HTTP.Middlewares[name+redirectSuffix].Redirect; to != nil {
		h.Redirect = true
		if port, err := strconv.Atoi(to.Port); err == nil {
			h.Port = port
		}
	}
	return h
}

// keeps is how a route that replaces another one serves HTTPS: it redirects at once only
// where the other one did, for the same names.
func (h https) keeps(before []byte, name string, claim route.Claim) https {
	was, err := parseRoute(before)
	covers := err == nil && !slices.ContainsFunc(claim.Hosts, func(host string) bool { return !slices.Contains(was.claim.Hosts, host) })
	had := was.https(name)
	h.Redirect = h.Redirect && covers && had.Redirect && had.Resolver == h.Resolver // Another issuer has yet to issue.
	return h
}

// Redirects reports whether the role's route sends plain HTTP to HTTPS.
func (r Role) Redirects(ctx context.Context) (bool, error) {
	now, ok, err := new(ownFile).read(ctx, r)
	return err == nil && ok && now.https(r.Names.Route(r.Name)).Redirect, err
}

// Redirect makes the role's route send plain HTTP to HTTPS, and changes nothing else of
// it.
func (r Role) Redirect(ctx context.Context) error {
	var file ownFile
	now, ok, err := file.read(ctx, r)
	if err != nil || !ok {
		return err
	}
	name := r.Names.Route(r.Name)
	if h := now.https(name); !h.On || h.Redirect {
		return nil
	}
	closed, inMaintenance := now.closed(name)
	now.routeFile = now.lift(name)
	httpsOf(r.Config.Proxy).redirect(&now.routeFile, name, now.claim)
	if inMaintenance {
		closed.into(&now.routeFile, name)
	}
	return file.write(ctx, r, written(now.claim, now.routeFile))
}

// Secure are the certificate resolvers that the routes use, whether any of them serves
// HTTPS, and whether one of another service does: what the proxy has to keep whatever one
// service wants of it.
func (t *Table) Secure(mine route.Owner) (resolvers []string, any, others bool) {
	for _, r := range t.routes {
		h := r.https(r.name)
		if !h.On {
			continue
		}
		any, others = true, others || !r.owned || !r.claim.SameService(mine)
		if h.Resolver != "" && !slices.Contains(resolvers, h.Resolver) {
			resolvers = append(resolvers, h.Resolver)
		}
	}
	return resolvers, any, others
}

// IsSecure reports whether the owner's route serves HTTPS.
func (t *Table) IsSecure(owner route.Owner) bool {
	r, ok := t.own(owner)
	return ok && r.https(r.name).On
}
