//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func TestAssets_AStableNameFollowsItsRuleAndNothingIsMissingForthAndBack(t *testing.T) {
	t.Parallel()
	s := settings{extra: "assets: {/app/public/assets: {on_conflict: new}}\n"}
	w := begin(t, s)
	w.must("deploy")
	first := w.head()
	w.commit(s.version("v2", ""))
	for _, stage := range []string{"build", "push"} {
		w.must(stage)
	}
	// While it is exchanged, too.
	stable := w.load(rig.Load{Paths: []string{"/assets/manifest.json", "/assets/app-v1.css"}, Slow: -1, Pace: 40 * time.Millisecond})
	w.must("assets")
	w.manifest("v2") // The old version serves, and shows the new one's.
	load := w.load(rig.Load{Paths: []string{"/assets/app-v1.css", "/assets/app-v2.css"}, Slow: -1, Pace: 40 * time.Millisecond})
	for _, stage := range allStages()[3:] {
		w.must(stage)
	}
	w.manifest("v2")
	w.must("deploy", "--new-release")
	w.must("rollback", first)
	w.serves("v1")
	w.manifest("v1")
	w.lostNothing(load, 1000)
	w.lostNothing(stable, 1000)
}

// manifest expects the manifest of a version, whichever serves.
func (w *world) manifest(version string) {
	w.t.Helper()
	for _, host := range []string{"vm1", "vm2"} {
		if _, body := w.get(w.rig.Host(host).URL() + "/assets/manifest.json"); !strings.Contains(body, "app-"+version+".css") {
			w.t.Errorf("%s shows the manifest %q, want that of %s", host, body, version)
		}
	}
}
