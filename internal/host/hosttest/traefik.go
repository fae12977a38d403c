package hosttest

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// traefik is a container whose image is called so: a proxy that reads its
// dynamic configuration, from files and from labels, at every request, and
// shows it in its API.
type traefik struct {
	c *container
	// The ports of its entry points; secure is 0 where there is none for HTTPS.
	web, api, secure int
	files            sync.Map // Of *dynamicFile, by name.
	started          time.Time

	mu         sync.Mutex
	transports map[upstream]*http.Transport // Connections are kept for each.
}

// loadTime is how long a proxy that was started answers 404 before its files
// are loaded, as Traefik does.
const loadTime = 30 * time.Millisecond

func newTraefik(c *container) *traefik {
	t := &traefik{c: c, web: 80, api: 8080, started: time.Now(), transports: map[upstream]*http.Transport{}}
	if port := t.option("entrypoints.web.address"); port != "" {
		t.web, _ = strconv.Atoi(strings.TrimPrefix(port, ":"))
	}
	if port := t.option("entrypoints.traefik.address"); port != "" {
		t.api, _ = strconv.Atoi(strings.TrimPrefix(port, ":"))
	}
	if port := t.option("entrypoints.websecure.address"); port != "" {
		t.secure, _ = strconv.Atoi(strings.TrimPrefix(port, ":"))
	}
	return t
}

// option is the value of a command line option, whatever its case.
func (t *traefik) option(name string) string {
	for _, arg := range t.c.Config.Cmd {
		key, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.EqualFold(key, name) {
			if value == "" {
				return "true"
			}
			return value
		}
	}
	return ""
}

func (t *traefik) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	port := 0
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		port = local.Port
	}
	switch {
	case port == t.web:
		t.proxy(w, r, "web")
	case port == t.secure && port != 0:
		t.proxy(w, r, "websecure")
	case port == t.api && t.option("api.insecure") == "true":
		t.serveAPI(w, r)
	case port == t.api:
		t.proxy(w, r, "traefik")
	default:
		http.NotFound(w, r)
	}
}

var (
	transportRef = regexp.MustCompile(`^traefik\.http\.services\.([^.]+)\.loadbalancer\.serverstransport$`)
	serverPort   = regexp.MustCompile(`^traefik\.http\.services\.([^.]+)\.loadbalancer\.server\.port$`)
	routerLabel  = regexp.MustCompile(`^traefik\.http\.routers\.([^.]+)\.(rule|service)$`)
)

func (t *traefik) serveAPI(w http.ResponseWriter, r *http.Request) {
	d := t.read()
	name, err := url.PathUnescape(r.URL.Path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	switch {
	case name == "/ping", name == "/api/overview", name == "/api/version":
		fmt.Fprint(w, `{"Version":"3.6.0"}`)
	case name == "/api/http/services":
		answerList(w, sortedKeys(d.services), func(n string) any { return d.services[n] })
	case name == "/api/http/routers":
		answerList(w, sortedKeys(d.routers), func(n string) any { return d.routers[n] })
	case name == "/api/rawdata":
		answer(w, 200, map[string]any{"routers": d.routers, "services": d.services})
	case strings.HasPrefix(name, "/api/http/services/"):
		answerOne(w, d.services[strings.TrimPrefix(name, "/api/http/services/")])
	case strings.HasPrefix(name, "/api/http/routers/"):
		answerOne(w, d.routers[strings.TrimPrefix(name, "/api/http/routers/")])
	default:
		http.NotFound(w, r)
	}
}

func answerOne[T any](w http.ResponseWriter, found *T) {
	if found == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
		json.NewEncoder(w).Encode(map[string]string{"message": "not found"}) // The client notices.
		return
	}
	answer(w, 200, found)
}

func (t *traefik) proxy(w http.ResponseWriter, r *http.Request, entry string) {
	d := t.read()
	var best []*tRouter // Of routers with one priority Traefik takes any, another one after each reload.
	for _, name := range sortedKeys(d.routers) {
		one := d.routers[name]
		if one.Status != "enabled" || !one.takes(entry) || (one.TLS != nil) != (r.TLS != nil) || !one.match(r) || len(best) > 0 && one.Priority < best[0].Priority {
			continue
		}
		if len(best) > 0 && one.Priority > best[0].Priority {
			best = nil
		}
		best = append(best, one)
	}
	if len(best) == 0 {
		http.NotFound(w, r)
		return
	}
	t.forward(w, r, entry, d, best[int(newID()[0])%len(best)])
}

func (t *traefik) forward(w http.ResponseWriter, r *http.Request, entry string, d *dynamic, best *tRouter) {
	for _, name := range best.Middlewares {
		middleware := d.middlewares[qualified(name, best.Provider)]
		if !middleware.BasicAuth.admits(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="traefik"`)
			http.Error(w, "401 Unauthorized", http.StatusUnauthorized)
			return
		}
		if middleware.Allow != nil && !middleware.allows(r, t.trusts(r, entry)) {
			status := cmp.Or(middleware.Allow.Reject, http.StatusForbidden)
			http.Error(w, http.StatusText(status), status)
			return
		}
		for header, value := range middleware.Headers.CustomResponseHeaders {
			w.Header().Set(header, value)
		}
		if middleware.Rewrite.answer(w, r) {
			return
		}
		if middleware.Strip != nil {
			r = middleware.stripped(r)
		}
		if middleware.Redirect != nil {
			middleware.Redirect.answer(w, r)
			return
		}
	}
	switch best.Service {
	case pingService:
		fmt.Fprint(w, "OK")
		return
	case apiService:
		t.serveAPI(w, r)
		return
	}
	servers := d.services[qualified(best.Service, best.Provider)].LoadBalancer.Servers
	if len(servers) == 0 {
		http.Error(w, "no available server", http.StatusServiceUnavailable)
		return
	}
	target, err := url.Parse(servers[newID()[0]%byte(len(servers))].URL)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	settings, _ := d.transport(d.services[qualified(best.Service, best.Provider)])
	h2c := target.Scheme == "h2c"
	if h2c {
		target.Scheme = "http"
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		Transport:    t.transportFor(upstream{settings, h2c}),
		ErrorLog:     log.New(io.Discard, "", 0), // Streams that are cut are no news.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	proxy.ServeHTTP(w, r)
}

// upstream is how a server is connected to.
type upstream struct {
	tTransport
	h2c bool
}

// transportFor keeps the connections of each transport, as Traefik does as long
// as its settings stay. One without settings of its own has Traefik's defaults.
func (t *traefik) transportFor(settings upstream) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.transports[settings]; known != nil {
		return known
	}
	idle := 90 * time.Second
	if d, err := time.ParseDuration(settings.Timeouts.Idle); err == nil {
		idle = d
	}
	made := &http.Transport{DialContext: t.dial, IdleConnTimeout: idle, MaxIdleConnsPerHost: settings.MaxIdlePerHost}
	made.TLSClientConfig = &tls.Config{InsecureSkipVerify: settings.InsecureSkipVerify}
	if settings.h2c {
		made.Protocols = new(http.Protocols)
		made.Protocols.SetUnencryptedHTTP2(true)
		made.IdleConnTimeout = 0 // Traefik 3.6 has none for these.
	}
	t.transports[settings] = made
	return made
}

// dial resolves names as the engine's DNS does for those on the same network.
func (t *traefik) dial(_ context.Context, _, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	e := t.c.engine
	e.mu.Lock()
	life := t.c.life
	found, from, to := t.c.lookup(name)
	e.mu.Unlock()
	if found == nil {
		return nil, fmt.Errorf("lookup %s: no such host", name)
	}
	if from == "" {
		return nil, net.ErrClosed // It has ended.
	}
	conn, err := found.dial(from, to, number)
	if err == nil {
		context.AfterFunc(life, func() { conn.Close() }) // Its connections end with it.
	}
	return conn, err
}
