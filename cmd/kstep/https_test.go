package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// page is what a client of the proxy gets.
type page struct {
	status int
	body   string
	header http.Header
}

// open requests an address from a host, by HTTP or HTTPS. It trusts the host's authority
// alone, and follows no redirect.
func (w *world) open(hostName, address string) (page, error) {
	w.t.Helper()
	fake := w.hosts[hostName]
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: fake.Authority().Roots()},
			DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
				if strings.HasSuffix(addr, ":443") {
					return fake.Dial(443)
				}
				return fake.Dial(80)
			},
		},
	}
	resp, err := client.Get(address)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, string(body), resp.Header}, err
}

// opens expects a version of the application from an address.
func (w *world) opens(hostName, address, version string) {
	w.t.Helper()
	if got, err := w.open(hostName, address); err != nil || got.status != 200 || !strings.Contains(got.body, version) {
		w.t.Errorf("%s on %s answers %d %q (%v), want version %s", address, hostName, got.status, got.body, err, version)
	}
}

// redirects expects an address to be redirected to another one.
func (w *world) redirects(hostName, address, to string) {
	w.t.Helper()
	if got, err := w.open(hostName, address); err != nil || got.status/100 != 3 || got.header.Get("Location") != to {
		w.t.Errorf("%s on %s answers %d to %q (%v), want a redirect to %s", address, hostName, got.status, got.header.Get("Location"), err, to)
	}
}

// onOneHost leaves the web role one host, as an HTTP challenge needs it.
func (w *world) onOneHost(extra string) *world {
	w.t.Helper()
	w.replace("web: [vm1, vm2]", "web: [vm1]")
	w.append(extra)
	return w
}

// certified writes a pair for the names beside kstep.yml.
func (w *world) certified(a *hosttest.Authority, ends time.Time, names ...string) {
	w.t.Helper()
	certificate, key := a.Pair(time.Now().Add(-time.Hour), ends, names...)
	w.write("shop.crt", certificate)
	w.write("shop.key", key)
}

const ownPair = "proxy: {hosts: [shop.example.com, www.example.com], tls: {certificate: shop.crt, private_key: shop.key}}\n"

func TestHTTPS_OneLineServesHTTPSAndRedirects(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]string{"routes": "", "cord": ", switch: cord"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com, www.example.com], tls: true" + extra + "}\n")
			w.deploy("v1")
			for _, name := range []string{"shop.example.com", "www.example.com"} {
				w.opens("vm1", "https://"+name+"/", "v1")
				w.redirects("vm1", "http://"+name+"/cart?a=1", "https://"+name+"/cart?a=1")
			}
			w.deploy("v2")
			w.opens("vm1", "https://shop.example.com/", "v2")
			w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")
			stdout, _ := w.exits(exit.OK, "certs", "status")
			if !strings.Contains(stdout, "kstep test authority") || !strings.Contains(stdout, "redirects") {
				t.Errorf("certs status does not show issuer and redirect:\n%s", stdout)
			}
		})
	}
}

func TestHTTPS_WhereACertificateDoesNotComePlainHTTPServesUntilItDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com, late.example.com], tls: true}\n")
	w.replace("cutover: {drain: 10ms}", "cutover: {drain: 10ms, timeout: 2s}")
	w.hosts["vm1"].Authority().Refuse("late.example.com", true)
	_, stderr := w.exits(exit.OK, w.deployArgs("v1")...)
	for _, want := range []string{"late.example.com", "no certificate", "plain HTTP", "kstep certs ensure"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("the warning does not say %q:\n%s", want, stderr)
		}
	}
	w.opens("vm1", "http://late.example.com/", "v1")
	w.opens("vm1", "http://shop.example.com/", "v1")
	w.opens("vm1", "https://shop.example.com/", "v1")
	w.exits(exit.Failed, "certs", "status")
	if stdout, stderr := w.exits(exit.OK, "status"); !strings.Contains(stdout+stderr, "HTTPS: late.example.com: there is no certificate yet") {
		t.Errorf("status does not show the missing certificate:\n%s", stdout)
	}
	w.exits(exit.Failed, "certs", "ensure")
	w.hosts["vm1"].Authority().Refuse("late.example.com", false)
	w.exits(exit.OK, "certs", "ensure")
	w.exits(exit.OK, "certs", "ensure")
	w.redirects("vm1", "http://late.example.com/", "https://late.example.com/")
	w.opens("vm1", "https://late.example.com/", "v1")
	w.exits(exit.OK, "certs", "status", "--output", "json")
}

func TestHTTPS_ANameThatIsAddedIsNotRedirectedBeforeItHasACertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], tls: true}\n")
	w.replace("cutover: {drain: 10ms}", "cutover: {drain: 10ms, timeout: 1s}")
	w.deploy("v1")
	w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")
	w.hosts["vm1"].Authority().Refuse("new.example.com", true)
	w.replace("hosts: [shop.example.com]", "hosts: [shop.example.com, new.example.com]")
	w.deploy("v2")
	w.opens("vm1", "http://new.example.com/", "v2")
	w.opens("vm1", "https://shop.example.com/", "v2")
}

func TestHTTPS_OwnCertificatesGoToAllHostsAndCanBeChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(ownPair)
	a := hosttest.NewAuthority()
	w.certified(a, time.Now().Add(100*24*time.Hour), "*.example.com")
	w.deploy("v1")
	for _, name := range []string{"vm1", "vm2"} {
		if got, err := w.presents(name, "www.example.com"); err != nil || !slices.Equal(got, []string{"*.example.com"}) {
			t.Errorf("%s presents a certificate for %v (%v)", name, got, err)
		}
		w.redirects(name, "http://www.example.com/", "https://www.example.com/")
	}
	w.keepsPrivate("BEGIN PRIVATE KEY")
	w.certified(a, time.Now().Add(200*24*time.Hour), "shop.example.com", "www.example.com")
	w.exits(exit.OK, "env", "push")
	if got, err := w.presents("vm2", "www.example.com"); err != nil || !slices.Contains(got, "www.example.com") {
		t.Errorf("vm2 presents a certificate for %v (%v), want the new one", got, err)
	}
	w.exits(exit.OK, "remove", "--yes")
	for _, name := range []string{"vm1", "vm2"} {
		left, err := filepath.Glob(filepath.Join(w.hosts[name].Home, ".kstep/proxy/routes/@*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s has %v left (%v)", name, left, err)
		}
	}
}

func TestHTTPS_CertificatesThatClientsWouldRefuseAreRefusedBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	a := hosttest.NewAuthority()
	year := time.Now().Add(365 * 24 * time.Hour)
	for name, c := range map[string]struct {
		make func(*world)
		want string
	}{
		"one that has expired": {func(w *world) {
			certificate, key := a.Pair(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour), "*.example.com")
			w.write("shop.crt", certificate)
			w.write("shop.key", key)
		}, "the certificate expired on " + time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly)},
		"one that begins tomorrow": {func(w *world) {
			certificate, key := a.Pair(time.Now().Add(24*time.Hour), year, "*.example.com")
			w.write("shop.crt", certificate)
			w.write("shop.key", key)
		}, "the certificate begins on"},
		"one for another name": {func(w *world) { w.certified(a, year, "other.example.org", "shop.example.com") }, "no certificate is for www.example.com"},
		"the key of another one": {func(w *world) {
			w.certified(a, year, "*.example.com")
			_, key := a.Pair(time.Now(), year, "*.example.com")
			w.write("shop.key", key)
		}, "the private key does not belong to the certificate"},
		"no PEM":             {func(w *world) { w.certified(a, year, "*.example.com"); w.write("shop.crt", "hello") }, "the certificate is not in PEM"},
		"no key":             {func(w *world) { w.certified(a, year, "*.example.com"); w.write("shop.key", "hello") }, "the private key is not in PEM"},
		"no file":            {func(*world) {}, "shop.crt"},
		"exchanged":          {func(w *world) { w.certified(a, year, "*.example.com"); w.swap("shop.crt", "shop.key") }, "not in PEM"},
		"a wildcard too low": {func(w *world) { w.certified(a, year, "*.shop.example.com") }, "no certificate is for shop.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append("proxy: {hosts: [shop.example.com, www.example.com]}\n")
			w.deploy("v1")
			w.replace("www.example.com]}", "www.example.com], tls: {certificate: shop.crt, private_key: shop.key}}")
			c.make(w)
			w.exits(exit.OK, "proxy", "reboot")
			_, stderr := w.exits(exit.Config, w.deployArgs("v2")...)
			if !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "proxy.tls") {
				t.Errorf("want %q and the key:\n%s", c.want, stderr)
			}
			w.opens("vm1", "http://shop.example.com/", "v1")
			if got := w.names("vm1"); slices.ContainsFunc(got, func(name string) bool { return strings.Contains(name, "v2") }) {
				t.Errorf("containers of v2 were made: %v", got)
			}
		})
	}
}

func TestHTTPS_OnAProxyWithoutItIsRefusedUntilTheProxyHasThePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com]}\n")
	w.deploy("v1")
	w.replace("hosts: [shop.example.com]", "hosts: [shop.example.com], tls: true")
	for _, args := range [][]string{w.deployArgs("v2"), {"preflight"}, append([]string{"plan"}, w.deployArgs("v2")[1:]...)} {
		_, stderr := w.exits(exit.Failed, args...)
		if !strings.Contains(stderr, "kstep proxy reboot") || !strings.Contains(stderr, "HTTPS") {
			t.Errorf("%s does not say what is missing and what to do:\n%s", args[0], stderr)
		}
	}
	w.opens("vm1", "http://shop.example.com/", "v1")
	w.exits(exit.OK, "proxy", "reboot")
	w.opens("vm1", "http://shop.example.com/", "v1")
	w.deploy("v2")
	w.opens("vm1", "https://shop.example.com/", "v2")
	w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")

	// And back.
	w.replace(", tls: true", "")
	w.deploy("v3")
	w.opens("vm1", "http://shop.example.com/", "v3")
	w.exits(exit.OK, "proxy", "reboot")
	w.opens("vm1", "http://shop.example.com/", "v3")
	if _, err := w.hosts["vm1"].Dial(443); err == nil {
		t.Error("the proxy still has port 443, which nothing needs")
	}
}

func TestHTTPS_AServiceWithoutItLeavesItToItsNeighbour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shop := w.service("shop", "proxy: {hosts: [shop.example.com], tls: true}\n")
	blog := w.service("blog", "proxy: {hosts: [blog.example.com]}\n")
	shop.deploy("v1")
	blog.deploy("b1")
	shop.opens("vm1", "https://shop.example.com/", "v1")
	blog.exits(exit.OK, "proxy", "reboot")
	shop.opens("vm1", "https://shop.example.com/", "v1")
	blog.opens("vm1", "http://blog.example.com/", "b1")
	shop.deploy("v2")
	shop.opens("vm1", "https://shop.example.com/", "v2")
}

func TestHTTPS_SettingsOfTheConfigurationReachClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onOneHost("proxy: {hosts: [shop.example.com], publish: {http: 80, https: 443}, tls: {hsts: true, min_version: \"1.3\", redirect: false}}\n")
	w.deploy("v1")
	got, err := w.open("vm1", "https://shop.example.com/")
	if err != nil || got.header.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("got %v (%v), want the header of HSTS", got.header, err)
	}
	w.opens("vm1", "http://shop.example.com/", "v1")
	old := tls.Client(w.dial("vm1", 443), &tls.Config{ServerName: "shop.example.com", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err := old.HandshakeContext(t.Context()); err == nil {
		t.Error("a client with TLS 1.2 was let in")
	}
	w.replace("redirect: false", "redirect: true")
	w.deploy("v2")
	w.redirects("vm1", "http://shop.example.com/", "https://shop.example.com/")
	w.replace("redirect: true", "redirect: false")
	w.deploy("v3")
	w.opens("vm1", "http://shop.example.com/", "v3")
}

func (w *world) dial(hostName string, port int) net.Conn {
	w.t.Helper()
	c, err := w.hosts[hostName].Dial(port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// presents are the names in the certificate that a host presents for a name.
func (w *world) presents(hostName, name string) ([]string, error) {
	w.t.Helper()
	c := tls.Client(w.dial(hostName, 443), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.HandshakeContext(w.t.Context()); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0].DNSNames, nil
}

// keepsPrivate expects a text in no file that others can read, and in no state file.
func (w *world) keepsPrivate(text string) {
	w.t.Helper()
	roots := []string{filepath.Join(w.dir, ".kstep")}
	for _, h := range w.hosts {
		roots = append(roots, h.Home)
	}
	for _, root := range roots {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !d.Type().IsRegular() {
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(data), text) {
				return nil
			}
			info, err := d.Info()
			if err != nil || info.Mode().Perm() != 0o600 || strings.HasPrefix(path, w.dir) {
				w.t.Errorf("%s (%v) holds the key", path, info.Mode())
			}
			return nil
		})
	}
}

// swap exchanges the content of two files beside kstep.yml.
func (w *world) swap(one, other string) {
	w.t.Helper()
	a, b := readText(w.t, filepath.Join(w.dir, one)), readText(w.t, filepath.Join(w.dir, other))
	w.write(one, b)
	w.write(other, a)
}
