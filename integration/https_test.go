//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// authority starts an authority whose DNS leads the names to vm1, and leaves the root of
// its server beside kstep.yml.
func (w *world) authority(valid time.Duration, names ...string) *rig.Authority {
	w.t.Helper()
	a, err := w.rig.StartAuthority(w.t.Context(), w.t.TempDir(), valid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			lines := strings.Split(a.Log(), "\n")
			w.t.Logf("the authority:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
		if err := a.Close(); err != nil {
			w.t.Error(err)
		}
	})
	for _, name := range names {
		a.Name(name, w.rig.Host("vm1"))
	}
	return a
}

// secured are settings of a web role on vm1 with HTTPS.
func secured(a *rig.Authority, hosts string) settings {
	return settings{
		only:  "vm1",
		proxy: fmt.Sprintf(", hosts: [%s], tls: {acme: {directory: %q, ca: root.pem}}", hosts, a.Directory),
	}
}

// withRoot is the version with the authority's root beside kstep.yml.
func withRoot(t *testing.T, a *rig.Authority, v rig.AppVersion) rig.AppVersion {
	t.Helper()
	root, err := os.ReadFile(a.ServerRoot)
	if err != nil {
		t.Fatal(err)
	}
	v.Files["root.pem"] = string(root)
	return v
}

// browser opens addresses on one host, and checks certificates.
func (w *world) browser(a *rig.Authority, h *rig.Host) *http.Client {
	w.t.Helper()
	roots, err := a.Roots(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			ForceAttemptHTTP2: true,
			TLSClientConfig:   &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(h.Addr, port))
			},
		},
	}
}

// opens expects a version from an address.
func (w *world) opens(client *http.Client, address, version string) {
	w.t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		w.t.Errorf("%s: %v", address, err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), version) {
		w.t.Errorf("%s answers %s %.80q (%v), want %s", address, resp.Status, body, err, version)
	}
}

// issued waits until a name has a certificate: on a busy machine the authority takes longer
// than the deploy waits.
func (w *world) issued(client *http.Client, name string) {
	w.t.Helper()
	w.eventually(func() error {
		resp, err := client.Head("https://" + name + "/")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

// redirects expects plain HTTP to be redirected to HTTPS.
func (w *world) redirects(client *http.Client, name string) {
	w.t.Helper()
	resp, err := client.Get("http://" + name + "/a?b=c")
	if err != nil {
		w.t.Errorf("http://%s: %v", name, err)
		return
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode/100 != 3 || got != "https://"+name+"/a?b=c" {
		w.t.Errorf("http://%s answers %s to %q", name, resp.Status, got)
	}
}

// secureLoad sends requests by HTTPS until it is ended, over connections that are kept
// and ones that are new, and returns how many there were and what failed.
func (w *world) secureLoad(a *rig.Authority, h *rig.Host, address string) (end func() (requests int64, failed []string)) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var requests atomic.Int64
	var mu sync.Mutex
	var failed []string
	var wg sync.WaitGroup
	for i := range 6 {
		client := w.browser(a, h)
		if i%3 == 0 {
			client.Transport.(*http.Transport).DisableKeepAlives = true
		}
		if i%2 == 0 {
			client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
		}
		wg.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				resp, err := client.Get(address)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 200 {
						err = fmt.Errorf("answers %s", resp.Status)
					}
				}
				requests.Add(1)
				if err != nil {
					mu.Lock()
					failed = append(failed, err.Error())
					mu.Unlock()
				}
				time.Sleep(5 * time.Millisecond) // The pace of a client.
			}
		})
	}
	return func() (int64, []string) {
		cancel()
		wg.Wait()
		return requests.Load(), failed
	}
}

func TestHTTPS_CertificatesOfAnAuthorityAndNoRequestLostUnderHTTPS(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{only: "vm1"})
	a := w.authority(90*24*time.Hour, "shop.kstep.test", "www.kstep.test")
	s := secured(a, "shop.kstep.test, www.kstep.test")
	w.commit(withRoot(t, a, s.version("v1", "")))
	w.must("deploy")
	w.must("certs", "ensure") // On a busy machine the authority takes longer than the deploy waits.
	vm1 := w.rig.Host("vm1")
	client := w.browser(a, vm1)
	for _, name := range []string{"shop.kstep.test", "www.kstep.test"} {
		w.opens(client, "https://"+name+"/", "v1")
		w.redirects(client, name)
	}
	end := w.secureLoad(a, vm1, "https://shop.kstep.test/")
	w.commit(withRoot(t, a, s.version("v2", "")))
	w.must("deploy")
	w.opens(client, "https://www.kstep.test/", "v2")
	w.must("rollback")
	w.opens(client, "https://www.kstep.test/", "v1")
	if requests, failed := end(); requests < 300 || len(failed) > 0 {
		t.Errorf("%d of %d requests failed: %.300v", len(failed), requests, failed)
	}

	// Certificates outlive the proxy's container, without new requests for
	// them.
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	before, err := vm1.Exec(t.Context(), "sh", "-c", "cat /root/.kstep/proxy/acme/*.json | sha256sum; stat -c %a /root/.kstep/proxy/acme/*.json /root/.kstep/proxy/acme")
	if err != nil || !strings.HasSuffix(strings.TrimSpace(before), "600\n700") {
		t.Errorf("the certificates on the host: %q, %v", before, err)
	}
	w.must("proxy", "reboot")
	status := w.must("certs", "status")
	if !strings.Contains(status.Stdout, "Pebble") || !strings.Contains(status.Stdout, "redirects") {
		t.Errorf("certs status prints\n%s", status.Stdout)
	}
}

func TestHTTPS_ANameThatDoesNotLeadHereServesHTTPUntilItDoes(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{only: "vm1"})
	a := w.authority(90*24*time.Hour, "shop.kstep.test")
	s := secured(a, "shop.kstep.test, late.kstep.test")
	s.extra = "cutover: {timeout: 8s}\n"
	w.commit(withRoot(t, a, s.version("v1", "")))
	r := w.must("deploy")
	for _, want := range []string{"late.kstep.test", "no certificate", "kstep certs ensure"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the warning does not say %q:\n%s", want, r.Stderr)
		}
	}
	client := w.browser(a, w.rig.Host("vm1"))
	w.opens(client, "http://late.kstep.test/", "v1")
	w.issued(client, "shop.kstep.test") // The other name does not hold it up.
	w.opens(client, "https://shop.kstep.test/", "v1")
	w.exits(10, "certs", "status")
	a.Name("late.kstep.test", w.rig.Host("vm1"))
	w.must("proxy", "restart") // The proxy tries again by itself, but only after a while.
	s.extra = ""
	w.write("kstep.yml", s.yaml()) // The authority may take longer than the deploy waited.
	w.must("certs", "ensure")
	w.opens(client, "https://late.kstep.test/", "v1")
	w.redirects(client, "late.kstep.test")
}

func TestHTTPS_OwnCertificatesServeOnEveryHostAndCanBeExchanged(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	own := hosttest.NewAuthority()
	s := settings{proxy: ", hosts: [shop.kstep.test], tls: {certificate: shop.pem, private_key: [SHOP_KEY]}"}
	commit := func(version string, names ...string) (key string) {
		certificate, key := own.Pair(time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour), names...)
		v := s.version(version, "")
		v.Files["shop.pem"] = certificate
		w.commit(v)
		return key
	}
	key := commit("v1", "shop.kstep.test")
	deploy := func() {
		t.Helper()
		if r := w.kstepWith([]string{"SHOP_KEY=" + key}, "deploy"); r.Exit != 0 {
			t.Fatalf("deploy: %d\n%s", r.Exit, r.Stderr)
		} else if strings.Contains(r.Stdout+r.Stderr, "PRIVATE KEY") {
			t.Error("the key is printed")
		}
	}
	deploy()
	opens := func(host, version string) {
		t.Helper()
		h := w.rig.Host(host)
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: own.Roots()},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, h.Addr+":443")
			},
		}}
		w.opens(client, "https://shop.kstep.test/", version)
	}
	opens("vm1", "v1")
	opens("vm2", "v1")
	key = commit("v2", "*.kstep.test")
	deploy()
	opens("vm1", "v2")
	opens("vm2", "v2")
}

func TestHTTPS_OnARunningServiceWithoutIt(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{only: "vm1"})
	w.must("deploy")
	a := w.authority(90*24*time.Hour, "shop.kstep.test")
	s := secured(a, "shop.kstep.test")
	w.commit(withRoot(t, a, s.version("v2", "")))
	r := w.exits(10, "deploy")
	if !strings.Contains(r.Stderr, "kstep proxy reboot") {
		t.Errorf("it does not say what to do:\n%s", r.Stderr)
	}
	client := w.browser(a, w.rig.Host("vm1"))
	w.opens(client, "http://shop.kstep.test/", "v1")
	w.must("proxy", "reboot")
	w.opens(client, "http://shop.kstep.test/", "v1")
	w.must("deploy")
	w.must("certs", "ensure")
	w.opens(client, "https://shop.kstep.test/", "v2")
	w.redirects(client, "shop.kstep.test")
	w.commit(settings{only: "vm1"}.version("v3", ""))
	w.must("deploy")
	w.opens(client, "http://shop.kstep.test/", "v3")
}
