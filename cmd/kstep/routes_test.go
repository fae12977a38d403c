package main

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// service is another service on the hosts of w, with a folder and a
// configuration of its own.
func (w *world) service(name, extra string) *world {
	w.t.Helper()
	other := &world{t: w.t, dir: w.t.TempDir(), ssh: w.ssh, hosts: w.hosts, registry: w.registry, env: w.env, programs: w.programs}
	other.configure(extra)
	other.replace("service: shop", "service: "+name)
	other.replace("  web: [vm1, vm2]\n  job:\n    hosts: [vm3]\n    cmd: work hard\n    healthcheck: {cmd: \"true\"}\n", "  web: [vm1]\n")
	return other
}

// answers returns the body of a request as a user sends it, or its status.
func (w *world) answers(hostName, address string) string {
	w.t.Helper()
	h, err := hosttest.Pool(w.t, slices.Collect(maps.Values(w.hosts))...).Get(w.t.Context(), hostName)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, "tcp", "127.0.0.1:80") },
	}}
	resp, err := client.Get("http://" + address)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status
	}
	return strings.TrimSpace(strings.TrimPrefix(string(body), "version "))
}

// answersAlways expects the version from each of several requests.
func (w *world) answersAlways(hostName, address, version string) {
	w.t.Helper()
	for range 8 {
		if got := w.answers(hostName, address); got != version {
			w.t.Fatalf("%s on %s is answered by %q, want %q", address, hostName, got, version)
		}
	}
}

func TestRoutes_ASecondServiceWithTheSameClaimIsRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shop := w.service("shop", "")
	shop.deploy("v1")
	blog := w.service("blog", "")
	before := w.names("vm1")
	for _, args := range [][]string{{"plan", "--image", w.image("b1"), "--version", "b1"}, {"deploy", "--image", w.image("b1"), "--version", "b1"}} {
		_, stderr := blog.exits(exit.Failed, args...)
		for _, want := range []string{"blog (role web)", "shop (role web)", "vm1", "every host name", "proxy.hosts", "proxy.path_prefix", "kstep remove"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: the refusal does not say %q:\n%s", args[0], want, stderr)
			}
		}
	}
	if got := w.names("vm1"); !slices.Equal(got, before) {
		t.Errorf("vm1 has %v, want %v as before", got, before)
	}
	shop.deploy("v2") // Who is there first may deploy again.
	shop.answersAlways("vm1", "any.example.com/", "v2")
	shop.exits(exit.OK, "rollback", "v1")
	shop.answersAlways("vm1", "any.example.com/", "v1")
	shop.exits(exit.OK, "remove", "--yes")
	blog.deploy("b1")
	blog.answersAlways("vm1", "any.example.com/", "b1")
}

func TestRoutes_ServicesShareAHostAsFarAsNoRequestBelongsToTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := w.service("rest", "proxy: {fallback: true}\n")
	all.deploy("all")
	shop := w.service("shop", "proxy: {hosts: [shop.example.com, www.example.com]}\n")
	shop.deploy("shop")
	tenants := w.service("tenants", "proxy: {hosts: [\"*.tenants.example.com\"], path_prefix: /}\n")
	tenants.deploy("tenants")
	api := w.service("api", "proxy: {hosts: [shop.example.com], path_prefix: /up}\n") // The path of shop's health check.
	api.deploy("api")
	shop.deploy("shop2")
	for address, version := range map[string]string{
		"shop.example.com/":        "shop2",
		"WWW.example.com/a/b":      "shop2",
		"shop.example.com/up":      "api",
		"shop.example.com/up/a":    "api",
		"shop.example.com/upper":   "shop2",
		"a.tenants.example.com/":   "tenants",
		"a.b.tenants.example.com/": "all",
		"tenants.example.com/":     "all",
		"other.org/up":             "all",
	} {
		w.answersAlways("vm1", address, version)
	}
	blog := w.service("blog", "proxy: {hosts: [www.example.com, blog.example.com]}\n")
	if _, stderr := blog.exits(exit.Failed, "deploy", "--image", w.image("blog"), "--version", "blog"); !strings.Contains(stderr, "claims www.example.com on vm1, which belongs to shop (role web)") {
		t.Errorf("got\n%s", stderr)
	}
	one := w.service("one", "proxy: {hosts: [a.tenants.example.com]}\n")
	if _, stderr := one.exits(exit.Failed, "deploy", "--image", w.image("one"), "--version", "one"); !strings.Contains(stderr, "proxy.fallback: true in the configuration of tenants") {
		t.Errorf("got\n%s", stderr)
	}
	shop.replace("hosts: [shop.example.com, www.example.com]", "hosts: [shop.example.com]") // The version stays.
	shop.exits(exit.OK, "deploy", "--image", w.image("shop2"), "--version", "shop2")
	w.answersAlways("vm1", "www.example.com/", "all")
	blog.deploy("blog")
	w.answersAlways("vm1", "www.example.com/", "blog")
}

// A narrower claim is a new claim on what another service got until then.
func TestRoutes_ANarrowerClaimDoesNotTakeWhatAnotherServiceServes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broad, theirs, narrow string
		address               string
	}{
		"a name below another's wildcard":  {"fallback: true", `hosts: ["*.example.com"]`, "hosts: [www.example.com]", "www.example.com/"},
		"a name next to one of its own":    {"fallback: true", `hosts: ["*.example.com"]`, "hosts: [own.org, shop.example.com]", "shop.example.com/"},
		"a wildcard below every name":      {"fallback: true", "path_prefix: /api, fallback: false", `hosts: ["*.example.com"], path_prefix: /api`, "www.example.com/api/x"},
		"a path below another's wildcard":  {"fallback: true", `hosts: ["*.example.com"]`, "hosts: [www.example.com], path_prefix: /api", "www.example.com/api"},
		"a name with a path, at its path":  {"fallback: true", `hosts: ["*.example.com"], path_prefix: /api`, "hosts: [www.example.com], path_prefix: /api", "www.example.com/api/x"},
		"a name that takes another's path": {`hosts: ["*.example.com"], fallback: true`, `hosts: ["*.example.com"], path_prefix: /api`, "hosts: [www.example.com]", "www.example.com/api/x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			rest := w.service("rest", "proxy: {"+c.broad+"}\n")
			rest.deploy("r1")
			tenants := w.service("tenants", "proxy: {"+c.theirs+"}\n")
			tenants.deploy("t1")
			tenants.answersAlways("vm1", c.address, "t1")
			rest.replace("proxy: {"+c.broad+"}", "proxy: {"+c.narrow+"}")
			for _, version := range []string{"r1", "r2"} {
				_, stderr := rest.exits(exit.Failed, "deploy", "--image", w.image(version), "--version", version)
				if !strings.Contains(stderr, "which belongs to tenants (role web)") {
					t.Errorf("the refusal does not name the owner:\n%s", stderr)
				}
				tenants.answersAlways("vm1", c.address, "t1")
			}
		})
	}
}

func TestRoutes_ARequestThatAnotherRouterAnswersIsNoArrival(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy := "proxy: {hosts: [shop.example.com]}\n"
			if extra != "" {
				proxy = "proxy: {switch: cord, hosts: [shop.example.com]}\n"
			}
			shop := w.service("shop", proxy)
			shop.replace("cutover: {drain: 10ms}", "cutover: {drain: 10ms, timeout: 8s}")
			shop.deploy("v1")
			look := w.hosts["vm1"].Look()
			defer look.CloseIdle()
			// A router that kstep knows nothing of.
			text := `{"http": {"routers": {"mine": {"rule": "Host(` + "`shop.example.com`" + `)", "service": "mine", "priority": 1000}},
				"services": {"mine": {"loadBalancer": {"servers": [{"url": "http://` + w.containersOf("vm1")["shop-web-v1"].ID[:12] + `:3000"}]}}}}}`
			h := w.hosts["vm1"].Connect(t)
			if err := h.Files().Write(t.Context(), w.hosts["vm1"].Home+"/.kstep/proxy/routes/mine.yml", []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, stderr := shop.exits(exit.RolledBack, "deploy", "--image", w.image("v2"), "--version", "v2")
			if !strings.Contains(stderr, "mine@file") || !strings.Contains(stderr, "shop.example.com/up") {
				t.Errorf("the error does not name the router and the request:\n%s", stderr)
			}
			shop.answersAlways("vm1", "shop.example.com/", "v1")
		})
	}
}
