package traffic

import (
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
)

// DialTimeout is how long the proxy waits for a connection to a container.
const DialTimeout = 5 * time.Second

// idle is how long the proxy keeps a connection to a container that has no
// request. It is short so that the connections that are left after the proxy
// let go of a container are those with a request in flight. It costs nothing
// under load, where a connection is used again at once.
const idle = 100 * time.Millisecond

// maxIdlePerHost is Traefik's default for all routes. A transport of a file
// would have Go's default of 2 without it, and open connections under load.
const maxIdlePerHost = 200

// transport is how the proxy connects to the containers of one role:
// https://doc.traefik.io/traefik/reference/routing-configuration/http/load-balancing/serverstransport/
type transport struct {
	ServerName         string     `json:"serverName,omitempty"`
	InsecureSkipVerify bool       `json:"insecureSkipVerify,omitempty"`
	RootCAs            []string   `json:"rootCAs,omitempty"`
	MaxIdlePerHost     int        `json:"maxIdleConnsPerHost"`
	Timeouts           forwarding `json:"forwardingTimeouts"`
	Spiffe             *spiffe    `json:"spiffe,omitempty"`
}

type forwarding struct {
	Dial   string `json:"dialTimeout"`
	Header string `json:"responseHeaderTimeout,omitempty"`
	Idle   string `json:"idleConnTimeout"`
}

type spiffe struct {
	IDs         []string `json:"ids,omitempty"`
	TrustDomain string   `json:"trustDomain,omitempty"`
}

// transport is the one of the role: it checks the certificate of an application
// that speaks TLS for the name that the health check uses, or not at all.
func (r Role) transport() transport {
	t := transportOf(r.Config.Proxy)
	if r.Health.Scheme == "https" {
		t.ServerName = r.Certificate
		t.InsecureSkipVerify = t.InsecureSkipVerify || !r.Health.Verify
	}
	return t
}

// transportOf is a transport with kstep's own values and those of `proxy.args`:
// Traefik applies its `serverstransport` options only to routes that have no
// transport of their own.
func transportOf(cfg config.Proxy) transport {
	t := transport{
		MaxIdlePerHost: maxIdlePerHost,
		Timeouts:       forwarding{Dial: DialTimeout.String(), Idle: idle.String()},
	}
	if cfg.ResponseTimeout > 0 {
		t.Timeouts.Header = cfg.ResponseTimeout.D().String()
	}
	for name, value := range cfg.Args {
		option, ok := strings.CutPrefix(strings.ToLower(name), "serverstransport.")
		if !ok {
			continue
		}
		switch option {
		case "insecureskipverify":
			t.InsecureSkipVerify = value == "" || strings.EqualFold(value, "true")
		case "rootcas":
			t.RootCAs = strings.Split(value, ",")
		case "maxidleconnsperhost":
			if n, err := strconv.Atoi(value); err == nil {
				t.MaxIdlePerHost = n
			}
		case "forwardingtimeouts.dialtimeout":
			t.Timeouts.Dial = value
		case "forwardingtimeouts.responseheadertimeout":
			t.Timeouts.Header = value
		case "forwardingtimeouts.idleconntimeout":
			t.Timeouts.Idle = value
		case "spiffe.ids":
			t.spiffe().IDs = strings.Split(value, ",")
		case "spiffe.trustdomain":
			t.spiffe().TrustDomain = value
		}
	}
	return t
}

func (t *transport) spiffe() *spiffe {
	if t.Spiffe == nil {
		t.Spiffe = &spiffe{}
	}
	return t.Spiffe
}
