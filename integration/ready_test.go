//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// askAs sends a request for a host name, by HTTP/2 without TLS if h2c is set.
func (w *world) askAs(vm, name string, h2c bool) (int, string) {
	w.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.rig.Host(vm).URL()+"/", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Host = name
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, DisableKeepAlives: true, TLSClientConfig: &tls.Config{}}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// upstreams are applications that need requests of their own kind, and what
// kstep.yml says about them.
func upstreams() map[string]struct {
	flags, extra, name string
	h2c, shell         bool
} {
	type upstream = struct {
		flags, extra, name string
		h2c, shell         bool
	}
	return map[string]upstream{
		"an application that knows its name": {"host=shop.example.com", "healthcheck: {interval: 200ms, retries: 5}\n", "shop.example.com", false, false},
		"h2c":                                {"h2c", "healthcheck: {interval: 200ms, retries: 5, scheme: h2c}\n", "shop.example.com", true, false},
		"https that nobody verifies":         {"tls", "healthcheck: {interval: 200ms, retries: 5, scheme: https, verify: false}\n", "shop.example.com", false, false},
	}
}

func TestReadiness_FitsTheApplication(t *testing.T) {
	t.Parallel()
	for name, c := range upstreams() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings{extra: c.extra, shell: c.shell}
			v := s.version("v1", c.flags)
			v.Files["kstep.yml"] = strings.Replace(s.yaml(), "proxy: {", "proxy: {hosts: ["+c.name+"], ", 1)
			w := beginWith(t, v)
			w.must("deploy")
			next := s.version("v2", c.flags)
			next.Files["kstep.yml"] = v.Files["kstep.yml"]
			w.commit(next)
			w.must("deploy")
			if status, body := w.askAs("vm1", c.name, c.h2c); status != 200 || !strings.HasPrefix(body, "version v2 ") {
				t.Errorf("got %d %q, want version v2", status, body)
			}
			if c.h2c { // The proxy keeps its connection.
				if waited, cut := w.drain("web@vm1"); waited > 20_000 || cut > 0 {
					t.Errorf("without requests, the drain took %v ms and cut %v", waited, cut)
				}
			}
			w.must("rollback")
			if status, body := w.askAs("vm2", c.name, c.h2c); status != 200 || !strings.HasPrefix(body, "version v1 ") {
				t.Errorf("got %d %q, want version v1", status, body)
			}
		})
	}
}

// The usual end is 12: the web role has moved, the worker keeps its old version.
// 13 is for a primary role that is not ready; 11 where the worker outlives its
// settling time and dies before the end of the cutover.
func TestReadiness_AWorkerThatDiesAfterThreeSecondsIsNeverLive(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	w := begin(t, s)
	w.must("deploy")
	before := w.live("vm3")
	next := s.version("v2", "")
	// With the default settling time.
	next.Files["kstep.yml"] = strings.Replace(s.yaml(), "    healthcheck: {settle: 1s}\n", "    env: {APP_FLAGS: crash=3s}\n", 1)
	w.commit(next)
	r := w.kstep("deploy")
	if !slices.Contains([]int{11, 12}, r.Exit) || strings.Contains(r.Stderr, "is live") {
		t.Errorf("exit code %d, want 12 or 11\n%s", r.Exit, r.Stderr)
	}
	if !strings.Contains(r.Stderr, "exit status 4") {
		t.Errorf("the output does not say how it ended:\n%s", r.Stderr)
	}
	if after := w.live("vm3"); after.ID != before.ID || !after.State.Running {
		t.Errorf("the worker is %s (%s), want the old one to work on", after.Name, after.State.Status)
	}
}
