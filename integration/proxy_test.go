//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// outOfBalancer is a hook that takes hosts out of the load balancer, and puts
// them back: it returns when no nginx worker uses the old list any more.
const outOfBalancer = `#!/bin/sh
set -eu
for host in $(echo "$KSTEP_HOSTS" | tr , ' '); do
  docker exec %[1]s sed -i 's/^ *#* *server '"$host"':80/%[2]s server '"$host"':80/' /etc/nginx/nginx.conf
done
docker exec %[1]s nginx -s reload
for _ in $(seq 150); do
  docker exec %[1]s sh -c 'grep -q "[s]hutting down" /proc/[0-9]*/cmdline' || exit 0
  sleep 0.2
done
echo 'the load balancer still uses the old list' >&2
exit 1
`

func TestProxy_RollingRebootLosesNoRequestThroughTheLoadBalancer(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	balancer := w.rig.LoadBalancerContainer()
	v := s.version("v1", "")
	v.Files[".kstep/hooks/pre-traefik-reboot"] = fmt.Sprintf(outOfBalancer, balancer, "#")
	v.Files[".kstep/hooks/post-traefik-reboot"] = fmt.Sprintf(outOfBalancer, balancer, "")
	w.commit(v)
	w.must("deploy")
	w.serves("v1")
	load := w.load(rig.Load{
		URLs: []string{w.rig.LoadBalancerURL()}, Kept: -1, Fresh: 8, Slow: -1, Pace: 20 * time.Millisecond,
	})
	for range 3 {
		w.must("proxy", "reboot", "--rolling")
	}
	w.lostNothing(load, 5_000)
	w.serves("v1")
}

func TestProxy_RebootWithSettingsThatDoNotServeLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	w.must("deploy")
	w.ignore("/bad.yml")
	load := w.traffic()
	for args, want := range map[string]string{
		"{providers.nosuch: 'true'}":                 "nosuch",
		"{entrypoints.other.address: ':80'}":         "address already in use",
		"{entrypoints.web.http.middlewares: x@file}": "does not serve",
	} {
		bad := s
		bad.proxy = ", args: " + args
		w.write("bad.yml", bad.yaml())
		r := w.exits(10, "-c", "bad.yml", "proxy", "reboot", "--hosts", "vm1")
		for _, part := range []string{want, "the old proxy was not touched and keeps serving"} {
			if !strings.Contains(r.Stderr, part) {
				t.Errorf("%s: stderr lacks %q:\n%s", args, part, r.Stderr)
			}
		}
	}
	w.lostNothing(load, 100)
	if left := w.running("vm1"); len(left) != 1 {
		t.Errorf("vm1 runs %v, want the application only beside the proxy", left)
	}
}

func TestProxy_KeepsForwardedHeadersOfTrustedLoadBalancersOnly(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	w.must("deploy")
	header := func(name string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.rig.Host("vm1").URL()+"/header/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-Proto", "https")
		req.Header.Set("X-Forwarded-For", "198.51.100.7")
		status, body := w.do(req)
		if status != http.StatusOK {
			t.Errorf("%s: got %d %s", name, status, body)
		}
		return body
	}
	if got := header("X-Forwarded-Proto"); got != "http" {
		t.Errorf("a stranger's header reached the application: %s", got)
	}
	trusting := s
	trusting.proxy = ", trusted_proxies: private"
	w.commit(trusting.version("v1", ""))
	r := w.must("deploy")
	if !strings.Contains(r.Stderr, "kstep proxy reboot") {
		t.Errorf("the deploy does not say that the proxy has to be rebooted:\n%s", r.Stderr)
	}
	w.must("proxy", "reboot")
	if got := header("X-Forwarded-Proto"); got != "https" {
		t.Errorf("got X-Forwarded-Proto %q, want https", got)
	}
	if got := header("X-Forwarded-For"); !strings.HasPrefix(got, "198.51.100.7") {
		t.Errorf("got X-Forwarded-For %q, want the client's address first", got)
	}
	if status, _ := w.get(w.rig.Host("vm1").URL() + "/.well-known/kstep/health"); status != http.StatusOK {
		t.Errorf("the proxy's health path answers %d, want 200", status)
	}
	strangers := s
	strangers.proxy = ", trusted_proxies: [203.0.113.0/24]"
	w.commit(strangers.version("v1", ""))
	w.must("proxy", "reboot", "--hosts", "vm1")
	if got := header("X-Forwarded-Proto"); got != "http" {
		t.Errorf("a header of a sender that is not in the list reached the application: %s", got)
	}
}
