package config

import "github.com/kstep/kstep/internal/runopt"

// Barrier holds the other roles back until the primary role is ready.
type Barrier struct {
	// Quorum is on how many hosts the primary containers must be ready, all
	// replicas of them: a number, a percentage such as `50%`, or `all`. Hosts
	// beyond it that are not ready keep the old version. If it is not given, `1`
	// host is enough, but a first deploy needs `all`: there is no old version that
	// could serve on a host that it leaves out.
	Quorum string `json:"quorum,omitempty"`
	// Timeout closes the barrier when the quorum is not reached in time.
	Timeout Duration `json:"timeout" jsonschema:"default=2m"`
}

// QuorumOf is the quorum of a first deploy, or of a later one.
func (b Barrier) QuorumOf(first bool) string {
	switch {
	case b.Quorum != "":
		return b.Quorum
	case first:
		return "all"
	}
	return "1"
}

// Rolling limits how many hosts are worked on at once.
type Rolling struct {
	// Limit is a number of hosts or a percentage of the role's hosts; empty
	// means all at once.
	Limit string `json:"limit,omitempty"`
	// Wait is the pause between two groups; none follows the last one.
	Wait Duration `json:"wait" jsonschema:"default=0s"`
}

// Cutover sets how traffic moves to the new containers.
type Cutover struct {
	Rolling
	// Drain limits the wait for requests in flight. The old container gets
	// its stop signal when the proxy has no connection to it any more, at the latest
	// after this time; connections that are still open then are counted and
	// reported. `0` does not wait. A role without traffic is not waited for.
	Drain Duration `json:"drain" jsonschema:"default=30s"`
	// Probe sends requests through the proxy while traffic moves and counts
	// those that fail.
	Probe *bool `json:"probe" jsonschema:"default=true"`
	// Timeout is how long the proxy may take to confirm a move.
	Timeout Duration `json:"timeout" jsonschema:"default=30s"`
}

// Proxy is the Traefik that kstep runs on the hosts of proxied roles.
type Proxy struct {
	// Switch is how traffic moves: `routes` replaces a file that Traefik
	// watches; `cord` lets a proxy follow the containers' Docker health. The
	// check of the cord runs in the container: the image needs `/bin/sh`, and
	// `curl` or `wget` unless `healthcheck.cmd` is given.
	Switch string `json:"switch" jsonschema:"enum=routes,enum=cord,default=routes"`
	// Image is the Traefik image.
	Image string `json:"image" jsonschema:"default=traefik:v3.6"`
	// Publish is the host port for HTTP: a number, or `address:port`. A map with
	// `http` and `https` sets the port for HTTPS too, which is 443 with `proxy.tls`.
	// `true` is the default, `false` publishes none. `kstep proxy reboot` makes a
	// running proxy take a change.
	Publish Publish `json:"publish" jsonschema:"default=80"`
	// TLS serves the host names of `proxy.hosts` by HTTPS: `true` gets certificates
	// from Let's Encrypt and renews them; a map has the settings, or a certificate of
	// your own. Plain HTTP is redirected once there is a certificate.
	TLS TLS `json:"tls,omitzero"`
	// ReadTimeout limits the time in which a client must send a whole request,
	// with its body. It ends connections that clients hold with half a request. An
	// upload that takes longer is broken off, so raise it for slow or large uploads;
	// `0` sets no limit. `kstep proxy reboot` makes a running proxy take a change.
	ReadTimeout Duration `json:"read_timeout" jsonschema:"default=5m"`
	// Args are extra Traefik options, without leading dashes:
	// `accesslog: true` becomes `--accesslog=true`. Options that kstep sets
	// itself and depends on are refused.
	Args map[string]string `json:"args,omitempty"`
	// TrustedProxies are the load balancers and CDNs in front of the hosts,
	// whose `X-Forwarded-*` headers the application gets as they are: addresses,
	// ranges such as `203.0.113.0/24`, or `private` for all private networks. The
	// headers of any other sender are replaced. `kstep proxy reboot` makes a
	// running proxy take a change.
	TrustedProxies Texts `json:"trusted_proxies,omitempty"`
	// Env is the environment of the proxy's container, such as the token with
	// which Traefik requests certificates. `kstep proxy reboot` makes a running
	// proxy take a change.
	Env Env `json:"env,omitzero"`
	// Labels are extra labels of the proxy's container.
	Labels map[string]string `json:"labels,omitempty"`
	// Hosts are the request host names this service answers to; empty means
	// all. `*.example.com` stands for all names one level below `example.com`.
	// A host may carry several services if no request belongs to two of them.
	Hosts []string `json:"hosts,omitempty" jsonschema:"maxItems=250"`
	// PathPrefix limits this service to this request path and those below it:
	// `/shop` takes `/shop` and `/shop/cart`, and not `/shopping`. Of two
	// services with the same host name the longer path wins.
	PathPrefix string `json:"path_prefix" jsonschema:"default=/"`
	// StripPathPrefix takes `path_prefix` off the path before the application gets the
	// request: `/shop/cart` becomes `/cart`. The header `X-Forwarded-Prefix` has it.
	StripPathPrefix bool `json:"strip_path_prefix,omitempty"`
	// Redirects sends requests for other host names to one of `hosts`, with their path:
	// `www.example.com: example.com`. The names are the service's, and have certificates,
	// too.
	Redirects map[string]string `json:"redirects,omitempty"`
	// ResponseTimeout is how long the application may take until its answer begins; then
	// the client gets 504. By default there is no limit.
	ResponseTimeout Duration `json:"response_timeout,omitempty"`
	// MaxBody is the largest request body; a larger one is answered with 413. The proxy
	// then receives each request and each answer whole before it sends it on, so it does
	// not go together with streams such as Server-Sent Events.
	MaxBody runopt.Size `json:"max_body,omitempty"`
	// Compress compresses answers that are not compressed yet.
	Compress bool `json:"compress,omitempty"`
	// Headers are set in every answer; an empty value removes one.
	Headers map[string]string `json:"headers,omitempty"`
	// Allow are the only senders that may send requests: addresses, or ranges such as
	// `203.0.113.0/24`. Others get 403. Behind a load balancer it needs `trusted_proxies`.
	Allow Texts `json:"allow,omitempty"`
	// Middlewares are further ones of Traefik for the requests of this service, in the
	// order of the file, each with a name of your own: Traefik's dynamic configuration,
	// as it is. They belong to the service, and go with its route.
	Middlewares Middlewares `json:"middlewares,omitzero"`
	// Fallback makes this service serve what no other service on the host
	// claims more precisely. It needs hosts that stand for several names: none
	// at all, or a wildcard.
	Fallback bool `json:"fallback,omitempty"`
}

// Lease keeps two releases from touching the hosts at once.
type Lease struct {
	// TTL is how long a lease lives after its last heartbeat.
	TTL Duration `json:"ttl" jsonschema:"default=15m"`
	// Wait queues behind another release for this long; 0 fails at once.
	Wait Duration `json:"wait" jsonschema:"default=0s"`
}
