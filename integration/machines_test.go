//go:build integration

package integration

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

func TestMachines_AnAddressBesideANameIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	before := mustSnapshot(t, w.rig)
	v := settings{}.version("v1", "")
	v.Files["kstep.yml"] = strings.Replace(v.Files["kstep.yml"], "hosts: [vm3]", "hosts: ["+w.rig.Host("vm1").Addr+"]", 1)
	w.commit(v)
	r := w.exits(78, "deploy")
	if !strings.Contains(r.Stderr, "is the same machine as vm1 (kstep.yml:5:") {
		t.Errorf("got\n%s", r.Stderr)
	}
	if diff := before.Diff(mustSnapshot(t, w.rig)); diff != "" {
		t.Errorf("the hosts have changed:\n%s", diff)
	}
}

func TestMachines_AnotherSSHUserMovesALiveServiceWithoutALostRequest(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{})
	w.must("deploy")
	load := w.load(rig.Load{Pace: 100 * time.Millisecond})
	w.commit(settings{extra: "ssh: {user: deploy}\n"}.version("v2", ""))
	before := mustSnapshot(t, w.rig)
	for _, command := range [][]string{{"deploy"}, {"rollback"}, {"env", "push"}, {"abort"}, {"proxy", "reboot"}} {
		w.exits(78, command...)
	}
	status := w.exits(78, "status")
	if !strings.Contains(status.Stdout, "kept in /root/.kstep") || strings.Contains(status.Stdout, "nothing") {
		t.Errorf("got\n%s\nwant it to say where the service is", status.Stdout)
	}
	if diff := before.Diff(mustSnapshot(t, w.rig)); diff != "" {
		t.Errorf("a refused command changed the hosts:\n%s", diff)
	}
	ways := regexp.MustCompile(`run on (\S+) as root: (.*)`).FindAllStringSubmatch(status.Stderr, -1)
	moved := map[string]bool{}
	for _, way := range ways {
		if !moved[way[1]] {
			moved[way[1]] = true
			mustExec(t, w.rig.Host(way[1]), "sh", "-c", way[2])
		}
	}
	if len(moved) != 3 {
		t.Fatalf("got %d hosts with a command to move the service, want 3:\n%s", len(moved), status.Stderr)
	}
	w.must("deploy")
	w.serves("v2")
	w.must("rollback")
	w.serves("v1")
	w.lostNothing(load, 1_000)
	w.must("proxy", "reboot")
	w.serves("v1")
}

func TestMachines_ASharedRunDirectoryWithoutPermissionIsRefused(t *testing.T) {
	t.Parallel()
	w := begin(t, settings{extra: "run_directory: /var/lib/kstep\n"})
	w.must("deploy")
	before := mustSnapshot(t, w.rig)
	w.commit(settings{extra: "run_directory: /var/lib/kstep\nssh: {user: deploy}\n"}.version("v2", ""))
	r := w.exits(78, "deploy")
	if !strings.Contains(r.Stderr, "the SSH user has no permission for /var/lib/kstep") {
		t.Errorf("got\n%s", r.Stderr)
	}
	if diff := before.Diff(mustSnapshot(t, w.rig)); diff != "" {
		t.Errorf("the hosts have changed:\n%s", diff)
	}
	w.serves("v1")
}
