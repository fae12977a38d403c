//go:build integration

package integration

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// isIn expects a container of vm1 to be in these networks and no others.
func (w *world) isIn(container string, want ...string) rig.Container {
	w.t.Helper()
	c, err := w.rig.Host("vm1").Container(w.t.Context(), container)
	if err != nil {
		w.t.Fatal(err)
	}
	got := slices.Sorted(maps.Keys(c.NetworkSettings.Networks))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s is in %q, want %q", container, got, want)
	}
	return c
}

// status is that of the answer to a request that vm1 sends to an address of a container.
func (w *world) status(url string) string {
	w.t.Helper()
	out, err := w.rig.Host("vm1").Exec(w.t.Context(), "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5", url)
	if err != nil {
		w.t.Errorf("%s: %v", url, err)
	}
	return out
}

// TestNetworks_TwoServicesOfAHostMeetInTheProxyOnly: engines of two versions give
// each service a network, and the proxy goes on while it joins and leaves them.
func TestNetworks_TwoServicesOfAHostMeetInTheProxyOnly(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{proxy: ", fallback: true"})
	w.must("deploy")
	load := w.load(rig.Load{Pace: 100 * time.Millisecond})
	proxy := fmt.Sprintf("proxy: {image: %q, hosts: [blog.test]}", rig.TraefikImage)
	blog := w.beside("blog", proxy)
	blog.commit(settings{service: "blog"}.proxied("b1", proxy))
	blog.must("deploy")
	w.answersAt("blog.test", "b1")
	w.answersAt("shop.test", "v1")
	front := w.isIn("kstep-proxy", "kstep", "kstep-blog", "kstep-shop")
	for _, c := range w.containers("vm1") {
		if len(c) > 5 && (c[:5] == "shop-" || c[:5] == "blog-") {
			w.isIn(c, "kstep-"+c[:4])
		}
	}
	for network, at := range front.NetworkSettings.Networks {
		if got := w.status("http://" + at.IPAddress + "/.well-known/kstep/health"); got != "200" {
			t.Errorf("the proxy does not answer on %s: %s", network, got)
		}
		if got := w.status("http://" + at.IPAddress + ":8080/api/rawdata"); got != "401" {
			t.Errorf("the proxy's API on %s answers %s, want 401", network, got)
		}
	}
	blog.must("remove", "--yes")
	w.isIn("kstep-proxy", "kstep", "kstep-shop")
	w.lostNothing(load, 500)
	w.must("proxy", "reboot")
	w.isIn("kstep-proxy", "kstep", "kstep-shop")
	w.serves("v1")
}
