//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// noting is a hook that writes a line of what it was told.
const noting = `#!/bin/sh
echo "$(basename "$0") of $KSTEP_COMMAND $KSTEP_SUBCOMMAND: $KSTEP_SERVICE_VERSION on $KSTEP_HOSTS by $KSTEP_PERFORMER, ${KSTEP_RUNTIME:-no} s" >>hooks.log
`

// hooked is a version with hooks in its checkout.
func (s settings) hooked(name string, hooks ...string) rig.AppVersion {
	v := s.version(name, "")
	v.Files[".gitignore"] += "hooks.log\n"
	for _, hook := range hooks {
		v.Files[".kstep/hooks/"+hook] = noting
	}
	return v
}

// noted are the hooks' lines so far; the log begins anew.
func (w *world) noted() []string {
	w.t.Helper()
	path := filepath.Join(w.app.Dir, "hooks.log")
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// noteds expects lines that match, in this order.
func (w *world) noteds(patterns ...string) {
	w.t.Helper()
	lines := w.noted()
	if len(lines) != len(patterns) {
		w.t.Errorf("got %q, want %d lines", lines, len(patterns))
		return
	}
	for i, pattern := range patterns {
		if !regexp.MustCompile("^" + pattern + "$").MatchString(lines[i]) {
			w.t.Errorf("line %d is %q, want %s", i+1, lines[i], pattern)
		}
	}
}

func TestHooks_FollowAReleaseAcrossItsJobsAndStopItBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := beginWith(t, s.hooked("v1", "pre-build", "post-push", "pre-deploy", "post-deploy", "pre-traefik-reboot", "post-traefik-reboot"))
	w.stagewise()
	what := `: shop@` + w.head()[:7] + ` on vm1,vm2,vm3 by [^,]+, `
	w.noteds("pre-build of build "+what+"no s", "post-push of push "+what+`\d+ s`, "pre-deploy of assets "+what+"no s", "post-deploy of prune "+what+`[1-9]\d* s`)
	w.must("prune")
	w.noteds("")

	v2 := s.hooked("v2", "post-deploy")
	v2.Files[".kstep/hooks/pre-deploy"] = "#!/bin/sh\necho CI is red\nexit 1\n"
	w.commit(v2)
	w.must("build")
	w.must("push")
	before := w.snapshot()
	r := w.exits(10, "assets")
	if !strings.Contains(r.Stderr, "CI is red") {
		t.Errorf("it does not show what the hook said:\n%s", r.Stderr)
	}
	if after := w.snapshot(); after != before {
		t.Errorf("it touched the hosts:\n%s", before.Diff(after))
	}
	w.noted()

	w.must("proxy", "reboot", "--rolling")
	of := " of proxy reboot: shop@ on "
	w.noteds("pre-traefik-reboot"+of+"vm1 by .*", "post-traefik-reboot"+of+"vm1 by .*", "pre-traefik-reboot"+of+"vm2 by .*", "post-traefik-reboot"+of+"vm2 by .*")
	w.eventually(func() error { return w.responds("v1") })
}

// responds is serves for what takes a moment.
func (w *world) responds(version string) error {
	for _, url := range []string{w.rig.Host("vm1").URL(), w.rig.Host("vm2").URL(), w.rig.LoadBalancerURL()} {
		if status, body := w.get(url + "/"); status != 200 || !strings.HasPrefix(body, "version "+version+" ") {
			return fmt.Errorf("%s answers %d %q, want version %s", url, status, body, version)
		}
	}
	return nil
}
