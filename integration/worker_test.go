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
	w.oneRuns("vm1", "vm2", "vm3")
}

func TestWorkers_ThatStartAfterTheBarrierNeverOverlap(t *testing.T) {
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
	// A web that is broken: the old worker has not even been asked to stop.
	before := w.live("vm3")
	broken := s.version("v3", "unhealthy")
	broken.Files["kstep.yml"] = v.Files["kstep.yml"]
	w.commit(broken)
	w.exits(13, "deploy")
	if after := w.live("vm3"); after.ID != before.ID {
		t.Errorf("the worker is %s, want the old one", after.Name)
	}
}

// With one web host that gets a sick container, quorum decides.
func TestBarrier_QuorumDecidesWhatOneSickHostMeans(t *testing.T) {
	for quorum, c := range map[string]struct {
		exit int
		web1 string // What vm1 serves after it.
	}{
		"all": {13, "v1"}, "50%": {12, "v2"}, `"1"`: {12, "v2"}, "2": {13, "v1"},
	} {
		t.Run(quorum, func(t *testing.T) {
			s := settings{extra: patient + "barrier: {quorum: " + quorum + "}\n"}
			w := begin(t, s)
			w.must("deploy")
			v2 := s.version("v2", "")
			v2.Files["kstep.yml"] = strings.Replace(s.yaml(), "[vm1, vm2]", "[vm1, vm2: sick]", 1) + "env: {tags: {sick: {APP_FLAGS: unhealthy}}}\n"
			commit := w.commit(v2)
			load := w.traffic()
			r := w.exits(c.exit, "deploy")
			t.Logf("kstep deploy\n%s", r.Stderr)
			w.lostNothing(load, 200)
			w.readable(r, nil)
			for host, want := range map[string]string{"vm1": c.web1, "vm2": "v1"} {
				if _, body := w.get(w.rig.Host(host).URL() + "/"); !strings.HasPrefix(body, "version "+want+" ") {
					t.Errorf("%s answers %q, want %s", host, body, want)
				}
			}
			if worker := w.live("vm3"); strings.HasSuffix(worker.Name, commit) != (c.web1 == "v2") {
				t.Errorf("the worker is %s, want that of %s", worker.Name, c.web1)
			}
			w.oneRuns("vm1", "vm2", "vm3")
			// The cause mended, the same command brings everything to one version.
			w.commit(s.version("v3", ""))
			w.must("deploy")
			w.serves("v3")
		})
	}
}

func TestBoot_WaitsForAnAppThatIsSlowAndRefusesOneThatCrashes(t *testing.T) {
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
	if r.Exit != 13 && r.Exit != 10 && r.Exit != 11 {
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

// oneRuns expects one container on each host: the old ones are down, and so
// are new ones that failed.
func (w *world) oneRuns(hosts ...string) {
	w.t.Helper()
	for _, host := range hosts {
		w.live(host)
	}
}
