//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// TestRoutes_ASecondServiceGetsWhatTheFirstDoesNotClaim: what Traefik does with the
// routes of two services is what kstep says about them.
func TestRoutes_ASecondServiceGetsWhatTheFirstDoesNotClaim(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	w.must("deploy")
	load := w.load(rig.Load{Pace: 100 * time.Millisecond})
	proxy := fmt.Sprintf("proxy: {image: %q", rig.TraefikImage)
	blog := w.beside("blog", proxy+"}")
	asks := func(hosts string) {
		blog.commit(settings{service: "blog"}.proxied("b1", proxy+hosts+"}"))
	}
	for hosts, want := range map[string]string{
		"":                             "every host name",
		", hosts: ['*.blog.test']":     "proxy.fallback: true in the configuration of shop",
		", hosts: [a.test, blog.test]": "proxy.fallback: true in the configuration of shop",
	} {
		asks(hosts)
		for _, args := range [][]string{{"plan"}, {"deploy"}} {
			if r := blog.exits(10, args...); !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "shop (role web)") {
				t.Errorf("hosts %q: %s does not say %q:\n%s", hosts, args[0], want, r.Stderr)
			}
		}
		if all := w.containers("vm1"); slices.ContainsFunc(all, func(name string) bool { return strings.HasPrefix(name, "blog-") }) {
			t.Errorf("vm1 has %v, want nothing of the refused service", all)
		}
	}

	w.commit(settings{proxy: ", fallback: true"}.version("v2", ""))
	w.must("deploy")
	asks(", hosts: ['*.blog.test', blog.test]")
	blog.must("deploy")
	for name, version := range map[string]string{
		"blog.test": "b1", "a.blog.test": "b1", "A.BLOG.test": "b1", "a.b.blog.test": "v2", "shop.test": "v2",
	} {
		w.answersAt(name, version)
	}
	for service, one := range map[string]*world{"v2": w, "b1": blog} {
		if r := one.must("status"); strings.Contains(r.Stdout, "gets no traffic") {
			t.Errorf("status of %s says\n%s", service, r.Stdout)
		}
	}
	w.must("rollback")
	w.answersAt("shop.test", "v1")
	w.answersAt("blog.test", "b1")
	blog.must("remove", "--yes")
	w.answersAt("blog.test", "v1")
	w.lostNothing(load, 1_000)
}
