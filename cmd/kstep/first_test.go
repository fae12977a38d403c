package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// Without an old version, a host on which the first one is not ready serves
// nothing: unless the configuration says otherwise, that is no live release.
func TestFirst_DeployNeedsAllHostsUnlessTheQuorumIsGiven(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		quorum  string
		before  bool // A version serves already.
		jobs    bool // Each stage by itself.
		code    exit.Code
		says    string
		serving []string // On vm2 and vm3.
	}{
		"first deploy":                 {code: exit.BarrierClosed, says: "this is the first version, so nothing serves yet"},
		"first deploy, in jobs":        {jobs: true, code: exit.BarrierClosed, says: "this is the first version, so nothing serves yet"},
		"first deploy, quorum 1":       {quorum: ", quorum: 1", code: exit.Partial, says: "the rest serves nothing yet", serving: []string{"shop-web-v2", "shop-job-v2"}},
		"second deploy":                {before: true, code: exit.Partial, says: "the rest keeps the old version", serving: []string{"shop-web-v2", "shop-job-v2"}},
		"second deploy, quorum of all": {quorum: ", quorum: all", before: true, code: exit.BarrierClosed, says: "the old version keeps serving", serving: []string{"shop-web-v1", "shop-job-v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replace("barrier: {timeout: 20s}", "barrier: {timeout: 20s"+c.quorum+"}")
			if c.before {
				w.deploy("v1")
				w.forget()
			}
			w.hosts["vm1"].Engine.Behave("acme/shop:v2", hosttest.Behaviour{Exit: new(1)})
			var code exit.Code
			var stderr string
			if c.jobs {
				w.stages("v2", "assets", "env-push", "boot")
				code, _, stderr = w.kstep("barrier-wait")
			} else {
				code, _, stderr = w.kstep(w.deployArgs("v2")...)
			}
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("got exit code %d, want %d and %q:\n%s", code, c.code, c.says, stderr)
			}
			if !c.before && strings.Contains(stderr, "old version") {
				t.Errorf("it tells of an old version:\n%s", stderr)
			}
			if got := slices.Concat(w.runsOn("vm2"), w.runsOn("vm3")); !slices.Equal(slices.DeleteFunc(got, isProxy), c.serving) {
				t.Errorf("%v serve on vm2 and vm3, want %v", got, c.serving)
			}
		})
	}
}

func isProxy(name string) bool { return name == "kstep-proxy" }
