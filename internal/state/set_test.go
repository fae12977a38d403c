package state

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// shard is a boot file of some targets that finished after the given seconds.
func shard(name string, finished int, status Status, targets ...Target) *File {
	outputs := BootOutputs{Switch: "routes", Targets: map[string]BootTarget{}}
	for _, t := range targets {
		if t.Status.Done() {
			outputs.Targets[Key(t.Role, t.Host)] = BootTarget{Replicas: []BootReplica{{Container: name + "/" + t.Host}}}
		}
	}
	data, _ := json.Marshal(outputs)
	return file("boot", func(f *File) {
		f.Shard, f.Status, f.Targets, f.Outputs = name, status, targets, data
		f.Finished = t0.Add(time.Duration(finished) * time.Second)
	})
}

func target(host string, status Status) Target {
	return Target{Host: host, Role: "web", Status: status, Started: t0, Finished: t0}
}

func TestReadSet_UnitesShardsTheLaterWinning(t *testing.T) {
	d := open(t, Options{})
	write(t, d, shard("", 1, Partial, target("vm1", OK), target("vm2", Failed)))
	write(t, d, shard("vm3", 2, OK, target("vm3", Unchanged)))
	write(t, d, shard("vm2", 3, OK, target("vm2", OK)))
	set, err := d.ReadSet([]string{"boot"}, shop)
	if err != nil {
		t.Fatal(err)
	}
	f := set.File("boot")
	if f.Status != OK || len(f.Targets) != 3 || f.Shard != "" {
		t.Errorf("got status %s, shard %q and %d targets, want ok, none and 3", f.Status, f.Shard, len(f.Targets))
	}
	out, err := Outputs[BootOutputs](set, "boot")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"web@vm1": "/vm1", "web@vm2": "vm2/vm2", "web@vm3": "vm3/vm3"} {
		if got := out.Targets[key].IDs(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got containers %q, want %q", key, got, want)
		}
	}
	if out.Switch != "routes" || len(set.Inputs()) != 3 {
		t.Errorf("got switch %q and %d inputs, want routes and 3", out.Switch, len(set.Inputs()))
	}
}

func TestReadSet_DropsOutputsThatALaterFailureMadeStale(t *testing.T) {
	d := open(t, Options{})
	write(t, d, shard("a", 1, OK, target("vm1", OK)))
	write(t, d, shard("b", 2, Failed, target("vm1", Failed)))
	_, err := d.ReadSet([]string{"boot"}, shop)
	wantError(t, err, exit.BadState, "boot.b.json")
	set, err := d.ReadSet([]string{"boot"}, Expect{Service: "shop", Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := Outputs[BootOutputs](set, "boot"); len(out.Targets) != 0 {
		t.Errorf("got outputs %v, want none", out.Targets)
	}
}

func TestReadSet_AFailureOutsideTheTargetsIsNotHealedByAnotherShard(t *testing.T) {
	d := open(t, Options{})
	write(t, d, shard("a", 1, Failed, target("vm1", OK)))
	write(t, d, shard("b", 2, OK, target("vm2", OK)))
	_, err := d.ReadSet([]string{"boot"}, shop)
	wantError(t, err, exit.BadState, "boot.a.json", "ended failed")
	write(t, d, shard("", 3, OK, target("vm1", OK), target("vm2", OK)))
	if _, err := d.ReadSet([]string{"boot"}, shop); err != nil {
		t.Errorf("after an unfiltered run: %v", err)
	}
}

func TestReadSet_IgnoresShardsOfAnOlderRelease(t *testing.T) {
	d := open(t, Options{})
	old := shard("vm9", 1, OK, target("vm9", OK))
	old.Release = relOld
	write(t, d, old)
	write(t, d, shard("", 1, OK, target("vm1", OK)))
	set, err := d.ReadSet([]string{"boot"}, shop)
	if err != nil {
		t.Fatal(err)
	}
	if got := set.File("boot").Targets; len(got) != 1 || got[0].Host != "vm1" {
		t.Errorf("got targets %v, want only vm1", got)
	}
}

func TestRequireTargets_NamesWhatIsMissingAndTheCommand(t *testing.T) {
	set := NewSet(shard("", 1, OK, target("vm1", OK)))
	if got := set.MissingTargets("boot", []string{"web@vm1"}); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
	err := set.RequireTargets("boot", []string{"web@vm1", "web@vm2", "worker@vm3"})
	wantError(t, err, exit.MissingState, "web@vm2, worker@vm3", "kstep boot --hosts vm2,vm3 --roles web,worker")
}

func TestMissingTargets_AHostEntryStandsForItsRoles(t *testing.T) {
	f := file("prune", func(f *File) { f.Targets = []Target{{Host: "vm1", Status: OK}} })
	if got := NewSet(f).MissingTargets("prune", []string{"web@vm1", "web@vm2"}); len(got) != 1 || got[0] != "web@vm2" {
		t.Errorf("got %v, want web@vm2", got)
	}
}

func TestUnited_TakesOfEachTargetTheLaterRunAndKeepsAFailure(t *testing.T) {
	t.Parallel()
	failed := shard("a", 1, Partial, target("vm1", Failed), target("vm2", OK))
	healing := shard("b", 2, OK, target("vm1", OK))
	hook := shard("c", 3, Failed, target("vm3", OK)) // It failed outside of its targets.
	last := shard("d", 4, OK, target("vm4", OK))
	stage := failed.Stage
	if f := United([]*File{healing, failed}).File(stage); f.Status != OK || len(f.Targets) != 2 {
		t.Errorf("made good: got %s with %d targets", f.Status, len(f.Targets))
	}
	if f := United([]*File{last, hook, healing, failed}).File(stage); f.Status != Failed || len(f.Targets) != 4 {
		t.Errorf("with a failed hook: got %s with %d targets", f.Status, len(f.Targets))
	}
	broken := shard("e", 5, OK)
	broken.Outputs = []byte(`[]`)
	if f := United([]*File{failed, broken}).File(stage); f == nil || f.Shard != "e" {
		t.Errorf("outputs that are no object: got %+v", f)
	}
	if United(nil).File(stage) != nil {
		t.Error("there is a file of nothing")
	}
}
