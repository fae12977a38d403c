package main

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// strict answers to requests with this host name only, with any port.
func strict(name string, refusal int) func(hosttest.Process) http.Handler {
	return func(p hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, err := net.SplitHostPort(r.Host)
			if err != nil {
				host = r.Host
			}
			if host != name {
				w.WriteHeader(refusal)
				return
			}
			w.Write([]byte("version " + p.Env["KSTEP_VERSION"])) // The client notices.
		})
	}
}

func TestDeploy_AnApplicationThatKnowsItsNameIsReadyWithTheProxysHosts(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{
		"the proxy's host":           "proxy: {hosts: [shop.example.com]}\n",
		"the first of several hosts": "proxy: {hosts: [shop.example.com, www.example.com]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.behave("v", hosttest.Behaviour{Handler: strict("shop.example.com", 400)})
			w.deploy("v1")
			w.deploy("v2")
			w.exits(exit.OK, "redeploy", "--image", w.image("v2"), "--version", "v2")
			w.exits(exit.OK, "rollback")
			if status, body := w.getAs("vm1", "shop.example.com"); status != 200 || body != "version v1" {
				t.Errorf("got %d %q, want version v1", status, body)
			}
		})
	}
}

func TestBarrier_SaysWhichHostWasSentWhereTheApplicationRefusesIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extra   string
		refusal int
		says    []string
	}{
		"no name is known": {"", 400, []string{"with Host <container address>:3000 answered 400", "healthcheck.host"}},
		"another name":     {"proxy: {hosts: [www.example.com]}\n", 421, []string{"with Host www.example.com answered 421", "set healthcheck.host"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(c.extra)
			w.behave("v1", hosttest.Behaviour{Handler: strict("shop.example.com", c.refusal)})
			_, stderr := w.exits(exit.BarrierClosed, w.deployArgs("v1")...)
			for _, want := range c.says {
				if !strings.Contains(stderr, want) {
					t.Errorf("the output lacks %q:\n%s", want, stderr)
				}
			}
			w.replace("retries: 3", "host: shop.example.com, retries: 3")
			w.deploy("v1") // With the key that it names.
		})
	}
}

func TestDeploy_NoticesAnApplicationThatRedirectsToHTTPS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("proxy: {hosts: [shop.example.com]}\n")
	w.behave("v", hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Forwarded-Proto") != "https" {
				http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
			}
		})
	}})
	_, stderr := w.exits(exit.OK, w.deployArgs("v1")...)
	if strings.Count(stderr, "answered 301 to https://shop.example.com/up") != 1 {
		t.Errorf("the redirect is not told once for both hosts:\n%s", stderr)
	}
	w.replace("retries: 3", "headers: {X-Forwarded-Proto: https}, status: 200, retries: 3")
	_, stderr = w.exits(exit.OK, w.deployArgs("v2")...)
	if strings.Contains(stderr, "301") {
		t.Errorf("the redirect is told although the header prevents it:\n%s", stderr)
	}
}

func TestDeploy_RoutesToApplicationsThatDoNotSpeakHTTP1(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		keys string
		b    hosttest.Behaviour
		cord string
	}{
		"h2c":           {"scheme: h2c", hosttest.Behaviour{H2C: true}, ""},
		"https":         {"scheme: https, verify: false", hosttest.Behaviour{TLS: true}, ""},
		"h2c by cord":   {"scheme: h2c, cmd: grpc_health_probe", hosttest.Behaviour{H2C: true}, "proxy: {switch: cord}\n"},
		"https by cord": {"scheme: https, verify: false", hosttest.Behaviour{TLS: true}, "proxy: {switch: cord}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(c.cord)
			w.replace("retries: 3", c.keys+", retries: 3")
			w.behave("v", c.b)
			w.deploy("v1")
			w.serves("v1")
			w.deploy("v2")
			w.serves("v2")
			w.exits(exit.OK, "rollback")
			w.serves("v1")
		})
	}
}
