//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/integration/rig"
)

// patient is a barrier that decides within a second.
const patient = "healthcheck: {interval: 100ms, retries: 5}\n"

func TestBarrier_LeavesTheWorkerOfTheSameVersionAloneWhenItsSpecChanged(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	w := begin(t, s)
	w.must("deploy")
	before := w.live("vm3")
	// The same commit with another config: the same names, other containers.
	w.ignore("/sick.yml")
	w.write("sick.yml", s.yaml()+"env: {APP_FLAGS: unhealthy}\n")
	w.exits(13, "-c", "sick.yml", "deploy", "--new-release")
	w.serves("v1")
	if after := w.live("vm3"); after.ID != before.ID || !after.State.Running {
		t.Errorf("the worker is %s (%s), want the old one to run on", after.Name, after.State.Status)
	}
	w.must("deploy", "--new-release")
	w.serves("v1")
	w.live("vm1")
	w.live("vm2")
}

func TestWorkers_ThatStartAfterTheBarrierNeverOverlap(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	v := s.version("v1", "")
	v.Files["kstep.yml"] = strings.Replace(s.yaml(), "cmd: /app/bin work", "cmd: /app/bin work\n    start: after-barrier", 1)
	w := beginWith(t, v)
	w.must("deploy")
	old := w.live("vm3")
	next := s.version("v2", "")
	next.Files["kstep.yml"] = v.Files["kstep.yml"]
	w.commit(next)
	w.must("deploy")
	old, err := w.rig.Host("vm3").Container(t.Context(), old.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now := w.live("vm3"); old.State.Running || now.State.StartedAt.Before(old.State.FinishedAt) {
		t.Errorf("the old worker ended at %s, the new one started at %s", old.State.FinishedAt, now.State.StartedAt)
	}
	// A web that is broken: the old worker has received no stop signal.
	before := w.live("vm3")
	broken := s.version("v3", "unhealthy")
	broken.Files["kstep.yml"] = v.Files["kstep.yml"]
	w.commit(broken)
	w.exits(13, "deploy")
	if after := w.live("vm3"); after.ID != before.ID {
		t.Errorf("the worker is %s, want the old one", after.Name)
	}
}

func TestBarrier_QuorumDecidesWhatOneSickHostMeans(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	sick := strings.Replace(s.yaml(), "[vm1, vm2]", "[vm1, vm2: sick]", 1) + "env: {tags: {sick: {APP_FLAGS: unhealthy}}}\n"
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	for _, c := range []struct {
		quorum string
		exit   int
		vm1    string // What it serves afterwards.
	}{{"all", 13, "v1"}, {`"1"`, 12, "v3"}} {
		next := s.version(map[string]string{"all": "v2", `"1"`: "v3"}[c.quorum], "")
		next.Files["kstep.yml"] = sick + "barrier: {quorum: " + c.quorum + "}\n"
		commit := w.commit(next)
		r := w.exits(c.exit, "deploy")
		t.Logf("kstep deploy\n%s", r.Stderr)
		w.readable(r, nil)
		for host, want := range map[string]string{"vm1": c.vm1, "vm2": "v1"} {
			if _, body := w.get(w.rig.Host(host).URL() + "/"); !strings.HasPrefix(body, "version "+want+" ") {
				t.Errorf("quorum %s: %s answers %q, want %s", c.quorum, host, body, want)
			}
		}
		if worker := w.live("vm3"); strings.HasSuffix(worker.Name, commit) != (c.exit == 12) {
			t.Errorf("quorum %s: the worker is %s", c.quorum, worker.Name)
		}
		w.live("vm1")
		w.live("vm2")
	}
	// With the cause repaired, a deploy brings everything to one version.
	w.commit(s.version("v4", ""))
	w.must("deploy")
	w.serves("v4")
	w.lostNothing(load, 1000)
}

func TestBoot_WaitsForAnAppThatIsSlowAndRefusesOneThatCrashes(t *testing.T) {
	t.Parallel()
	s := settings{extra: patient}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	w.commit(s.version("slow", "boot=2s"))
	w.must("deploy")
	w.serves("slow")
	w.commit(s.version("crashing", "crash=400ms"))
	r := w.kstep("deploy")
	t.Logf("kstep deploy\n%s", r.Stderr)
	if r.Exit != 13 && r.Exit != 10 { // By when it crashes: before the barrier opened, or after.
		t.Errorf("an app that crashes after it was ready: exit status %d", r.Exit)
	}
	w.lostNothing(load, 500)
	w.serves("slow")
}

// live is the newest running container on a host, the proxy aside.
func (w *world) live(host string) rig.Container {
	w.t.Helper()
	names := w.running(host)
	if len(names) != 1 {
		w.t.Fatalf("%s runs %v, want one container", host, names)
	}
	c, err := w.rig.Host(host).Container(w.t.Context(), names[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}
