package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// paths makes a version answer with the path of the request.
func (w *world) paths(version string) {
	w.t.Helper()
	w.behave(version, hosttest.Behaviour{Handler: func(hosttest.Process) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "%s got %s", version, r.URL.Path) })
	}})
}

func TestMiddlewares_OtherNamesAreRedirectedAndBelongToTheService(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": "", "cord": ", switch: cord"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			shop := w.service("shop", "proxy: {hosts: [example.com, cdn.example.com], redirects: {www.example.com: example.com, old.org: cdn.example.com}"+extra+"}\n")
			shop.deploy("v1")
			shop.opens("vm1", "http://example.com/", "v1")
			shop.redirects("vm1", "http://www.example.com/a/b?c=d", "http://example.com/a/b?c=d")
			shop.redirects("vm1", "http://old.org/", "http://cdn.example.com/")
			blog := w.service("blog", "proxy: {hosts: [www.example.com]"+extra+"}\n")
			_, stderr := blog.exits(exit.Failed, blog.deployArgs("b1")...)
			if !strings.Contains(stderr, "www.example.com") || !strings.Contains(stderr, "shop (role web)") {
				t.Errorf("another service may take a name that is redirected:\n%s", stderr)
			}
		})
	}
}

func TestMiddlewares_RedirectedNamesHaveCertificatesToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [example.com], redirects: {www.example.com: example.com}, tls: true}\n")
	w.deploy("v1")
	w.redirects("vm1", "https://www.example.com/a", "https://example.com/a")
	w.redirects("vm1", "http://www.example.com/a", "https://www.example.com/a")
}

func TestMiddlewares_ChangesOfTheConfigurationReachClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("proxy: {hosts: [example.com], path_prefix: /shop}\n")
	w.paths("v1")
	w.deploy("v1")
	w.opens("vm1", "http://example.com/shop/cart", "v1 got /shop/cart")
	w.replace("path_prefix: /shop}", "path_prefix: /shop, strip_path_prefix: true, headers: {X-Frame-Options: DENY}, compress: true, max_body: 1m, response_timeout: 20s, middlewares: {last: {headers: {customResponseHeaders: {X-Mine: 'yes'}}}, limit: {rateLimit: {average: 1000}}}}")
	w.exits(exit.OK, w.deployArgs("v1")...)
	got, err := w.open("vm1", "http://example.com/shop/cart")
	if err != nil || got.body != "v1 got /cart" || got.header.Get("X-Frame-Options") != "DENY" || got.header.Get("X-Mine") != "yes" {
		t.Errorf("got %d %q %v (%v)", got.status, got.body, got.header, err)
	}
	w.operations() // So far.
	w.exits(exit.OK, w.deployArgs("v1")...)
	for _, op := range w.operations() {
		if strings.Contains(op.Path, "proxy/routes/shop") && strings.HasPrefix(op.Name, "write") {
			t.Errorf("a deploy that changes nothing writes the route: %v", op)
		}
	}
}

func TestMiddlewares_MistakesAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("proxy: {}\n")
	for proxy, want := range map[string]string{
		"{hosts: [a.com], middlewares: {x: {rateLimits: {average: 1}}}}":                       `proxy.middlewares.x.rateLimits: unknown kind of middleware "rateLimits"; did you mean "rateLimit"?`,
		"{hosts: [a.com], middlewares: {x: {rateLimit: {}, compress: {}}}}":                    "proxy.middlewares.x",
		"{hosts: [a.com], redirects: {b.com: c.com}}":                                          `proxy.redirects["b.com"]: unknown host "c.com"`,
		"{hosts: [a.com], redirects: {a.com: a.com}}":                                          `proxy.redirects["a.com"]: is in proxy.hosts too`,
		"{redirects: {b.com: a.com}}":                                                          `proxy.redirects["b.com"]: needs proxy.hosts`,
		"{hosts: ['*.a.com'], redirects: {b.com: '*.a.com'}}":                                  `proxy.redirects["b.com"]: is a wildcard`,
		"{strip_path_prefix: true}":                                                            "proxy.strip_path_prefix: has no effect without proxy.path_prefix",
		"{allow: [10.0.0.0/33]}":                                                               "proxy.allow[0]: must be an address",
		"{hosts: [a.com], headers: {X: '{{ env `TOKEN` }}'}}":                                  "proxy.headers.X: must not have {{ in it",
		"{hosts: [a.com], middlewares: {x: {headers: {customResponseHeaders: {X: '{{.}}'}}}}}": "proxy.middlewares.x: must not have {{ in it",
		"{max_body: big}": "proxy.max_body: must be a size",
	} {
		w.replace("proxy: {}", "proxy: "+proxy)
		_, stderr := w.exits(exit.Config, "config", "validate")
		if !strings.Contains(stderr, want) {
			t.Errorf("%s: want %q:\n%s", proxy, want, stderr)
		}
		w.replace("proxy: "+proxy, "proxy: {}")
	}
}

func TestMiddlewares_OnlyThoseWhoAreAllowedGetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("proxy: {hosts: [example.com], allow: [198.51.100.0/24]}\n")
	w.exits(exit.OK, w.deployArgs("v1")...)
	if got, err := w.open("vm1", "http://example.com/"); err != nil || got.status != http.StatusForbidden {
		t.Errorf("another sender gets %d (%v), want 403", got.status, err)
	}
}

func TestMiddlewares_OneThatTheProxyRefusesLeavesTheOldVersionItsTraffic(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"routes": "", "cord": ", switch: cord"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append("proxy: {hosts: [example.com]" + kind + "}\n")
			w.deploy("v1")
			w.replace("[example.com]", "[example.com], middlewares: {broken: {redirectRegex: {regex: '(', replacement: x}}}")
			for _, version := range []string{"v2", "v1"} {
				_, stderr := w.exits(exit.RolledBack, w.deployArgs(version)...)
				if !strings.Contains(stderr, "the proxy refuses the route") {
					t.Errorf("%s: got\n%s", version, stderr)
				}
				w.opens("vm1", "http://example.com/", "v1")
			}
		})
	}
}
