//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// renamed is a version whose role with the traffic has another name.
func (s settings) renamed(version string) rig.AppVersion {
	v := s.version(version, "")
	text := strings.Replace(v.Files["kstep.yml"], "  web: ", "  api: ", 1)
	v.Files["kstep.yml"] = strings.Replace(text, "servers:\n", "primary_role: api\nservers:\n", 1)
	return v
}

// TestRename_TheRoleWithTheTrafficGetsAnotherName: no request is lost, and after
// each command no old version answers, however often the proxy reloads.
func TestRename_TheRoleWithTheTrafficGetsAnotherName(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			w := begin(t, s)
			w.must("deploy")
			first := w.head()
			load := w.load(rig.Load{Pace: 100 * time.Millisecond})
			w.commit(s.renamed("v2"))
			out := w.must("deploy")
			over := time.Now()
			w.serves("v2")
			for _, want := range []string{"route of role web", "a rollback to "} {
				if !strings.Contains(out.Stdout+out.Stderr, want) {
					t.Errorf("the deploy does not say %q", want)
				}
			}
			w.commit(s.renamed("v3"))
			w.must("deploy")
			w.serves("v3")
			if seen := load.Summary().Versions["v1"]; seen.Last.After(over) {
				t.Errorf("v1 answered %s after the deploy of v2", seen.Last.Sub(over))
			}
			w.must("rollback")
			w.serves("v2")
			w.must("rollback", first)
			w.serves("v1")
			w.lostNothing(load, 500)
			for _, host := range []string{"vm1", "vm2"} {
				if all := w.running(host); len(all) != 1 || !strings.HasPrefix(all[0], "shop-web-") {
					t.Errorf("%s runs %v, want the role web alone", host, all)
				}
			}
		})
	}
}
