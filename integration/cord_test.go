//go:build integration

package integration

import (
	"strings"
	"testing"
)

func TestSwitch_ChangesBetweenReleasesWithoutALostRequest(t *testing.T) {
	t.Parallel()
	routes, cord := settings{shell: true}, settings{shell: true}.with("cord")
	w := begin(t, cord)
	w.must("deploy")
	load := w.traffic()
	for _, next := range []struct {
		version string
		s       settings
	}{{"v2", routes}, {"v3", cord}} {
		w.commit(next.s.version(next.version, ""))
		w.must("deploy")
		w.serves(next.version)
	}
	w.lostNothing(load, 1000)
}

func TestSwitch_ToTheCordNeedsAProxyThatWatchesDocker(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{shell: true})
	w.must("deploy") // Boots a proxy for routes.
	w.commit(settings{shell: true}.with("cord").version("v2", ""))
	r := w.exits(10, "deploy")
	t.Logf("kstep deploy\n%s", r.Stderr)
	if !strings.Contains(r.Stderr, "vm1") || !strings.Contains(r.Stderr, "proxy.switch: cord") {
		t.Error("the message does not say which proxy lacks what")
	}
	w.readable(r, nil)
	w.serves("v1")
}
