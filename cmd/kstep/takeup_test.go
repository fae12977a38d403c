package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// newContainerStarts is a moment in the middle: the release has begun to change
// hosts, and its process is killed.
func newContainerStarts(op host.Op) bool {
	return op.Kind == host.KindEngine && strings.HasSuffix(op.Name, "/start")
}

func firstFolderIsMade(op host.Op) bool { return changing(op) }

// A CI job that is run again gets another machine, without the folder of the first.
func TestKilled_InAnotherFolderGoesOnWithTheReleaseThatHasTheLease(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		args   func(*world) []string
		killed func(host.Op) bool
		want   string
	}{
		"a deploy":                  {func(w *world) []string { return w.deployArgs("v3") }, newContainerStarts, "v3"},
		"a deploy, before it began": {func(w *world) []string { return w.deployArgs("v3") }, firstFolderIsMade, "v3"},
		"a redeploy": {func(w *world) []string {
			return []string{"redeploy", "--force", "--image", w.image("v2"), "--version", "v2"}
		}, newContainerStarts, "v2"},
		"a rollback":                  {func(*world) []string { return []string{"rollback"} }, newContainerStarts, "v1"},
		"a rollback with new ones":    {func(*world) []string { return []string{"rollback", "--fresh", "v1"} }, newContainerStarts, "v1"},
		"a rollback, before it began": {func(*world) []string { return []string{"rollback"} }, firstFolderIsMade, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.deploy("v2")
			args := story.args(w)
			w.env["GITHUB_ACTIONS"], w.env["GITHUB_SERVER_URL"], w.env["GITHUB_REPOSITORY"] = "true", "https://github.example", "acme/shop"
			w.env["GITHUB_RUN_ID"], w.env["GITHUB_RUN_ATTEMPT"] = "77", "1"
			if !w.killedAt(story.killed, args...) {
				t.Fatal("it came to its end")
			}
			other := w.job()
			w.env["GITHUB_RUN_ID"] = "78"
			if out := other.must(exit.LeaseHeld, args...); !strings.Contains(out, "/runs/77") {
				t.Errorf("another run is not told who has the lease:\n%s", out)
			}
			w.env["GITHUB_RUN_ID"], w.env["GITHUB_RUN_ATTEMPT"] = "77", "2"
			if out := w.job().must(exit.OK, args...); !strings.Contains(out, "going on with release ") {
				t.Errorf("the output does not tell that it goes on:\n%s", out)
			}
			w.serves(story.want)
			w.free()
		})
	}
}

func TestAbort_FindsWhatIsUnderWayAlsoWhenTheFolderIsOfANewerRelease(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]bool{"it has the lease": false, "the lease was freed by force": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.killedAt(func(op host.Op) bool { return strings.Contains(op.Path, "/proxy/routes/") && op.Name == "write" }, w.deployArgs("v2")...)
			if free {
				w.exits(exit.OK, "lock", "release", "--force")
			}
			w.exits(exit.OK, "push", "--new-release", "--image", w.image("v3"), "--version", "v3")
			w.exits(exit.OK, "abort")
			w.serves("v1")
			for _, host := range []string{"vm1", "vm2"} {
				if got := w.runsOn(host); strings.Contains(strings.Join(got, " "), "v2") {
					t.Errorf("%q run on %s", got, host)
				}
			}
			w.free()
			w.deploy("v3")
		})
	}
}
