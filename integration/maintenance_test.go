//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

func TestMaintenance_ClosesTheApplicationAndADeployKeepsItClosed(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			w := begin(t, s)
			w.must("deploy")
			containers := w.running("vm1")
			w.must("app", "maintenance", "--retry-after", "120")
			w.closed()
			if got := w.running("vm1"); strings.Join(got, " ") != strings.Join(containers, " ") {
				t.Errorf("vm1 runs %v, want %v", got, containers)
			}
			if r := w.must("status"); strings.Count(r.Stdout, "is in maintenance: visitors get 503 with Retry-After: 120") != 2 {
				t.Errorf("status shows\n%s", r.Stdout)
			}

			load := w.load(rig.Load{Slow: -1})
			w.commit(s.version("v2", ""))
			w.must("deploy")
			w.must("rollback")
			w.must("deploy", "--new-release")
			if err := load.WaitTotal(t.Context(), 1000); err != nil {
				t.Error(err)
			}
			if sum := load.Stop(); len(sum.Versions) > 0 || sum.Failed != sum.Total {
				t.Errorf("visitors got the application during the maintenance: %v", sum)
			}
			w.closed()
			w.must("proxy", "reboot")
			w.eventually(func() error { return w.isClosed(w.rig.Host("vm1")) })
			w.eventually(func() error { return w.isClosed(w.rig.Host("vm2")) })

			w.must("app", "maintenance", "--allow", "0.0.0.0/0")
			w.opensAgain("v2")
			w.must("app", "maintenance", "--allow", "203.0.113.0/24")
			w.must("app", "live")
			w.opensAgain("v2")
			w.lostNothing(w.traffic(), 200)
			w.serves("v2")
			w.must("app", "live")
		})
	}
}

// opensAgain expects both web hosts to serve the version at once. The load balancer may
// have taken them out, and takes some time.
func (w *world) opensAgain(version string) {
	w.t.Helper()
	opens := func(url string) error {
		if status, body := w.get(url + "/"); status != http.StatusOK || !strings.HasPrefix(body, "version "+version+" ") {
			return fmt.Errorf("%s answers %d %.80q, want version %s", url, status, body, version)
		}
		return nil
	}
	for _, name := range []string{"vm1", "vm2"} {
		if err := opens(w.rig.Host(name).URL()); err != nil {
			w.t.Error(err)
		}
	}
	w.eventually(func() error { return opens(w.rig.LoadBalancerURL()) })
}

// closed expects 503 from both web hosts, and the application's answer to the health check.
func (w *world) closed() {
	w.t.Helper()
	for _, name := range []string{"vm1", "vm2"} {
		if err := w.isClosed(w.rig.Host(name)); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) isClosed(h *rig.Host) error {
	resp, err := http.Get(h.URL() + "/")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		return fmt.Errorf("%s answers %s with Retry-After %q", h.Name, resp.Status, resp.Header.Get("Retry-After"))
	}
	if status, body := w.get(h.URL() + "/up"); status != http.StatusOK {
		return fmt.Errorf("%s answers the health check with %d %.80q", h.Name, status, body)
	}
	return nil
}
