package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

// forget empties the state folder, as every job of a CI without artifacts
// finds it.
func (w *world) forget() {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, "kstep-state")); err != nil {
		w.t.Fatal(err)
	}
}

// mirrored are the files of the mirror on the lease host, by content and time.
func (w *world) mirrored() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	root := filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "state")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		found[rel] = info.ModTime().String()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// pushed starts a release with a ready image.
func (w *world) pushed(version string, flags ...string) {
	w.t.Helper()
	w.exits(exit.OK, append([]string{"push", "--image", w.image(version), "--version", version}, flags...)...)
}

// stagesOnHosts are those that can take their state from the hosts.
func stagesOnHosts() []string { return stageNames()[2:] }

func TestStateFromHosts_LetsEveryStageRunInAnEmptyFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, version := range []string{"v1", "v2"} {
		w.pushed(version, "--state-from", "hosts")
		for _, stage := range stagesOnHosts() {
			w.forget()
			w.exits(exit.OK, stage, "--state-from", "hosts")
		}
		w.serves(version)
	}
	w.forget()
	before := w.mirrored()
	for _, stage := range stagesOnHosts() {
		w.forget()
		w.exits(exit.OK, stage, "--state-from", "hosts")
		if got := w.state(stage)["status"]; got != "unchanged" {
			t.Errorf("%s run again says %v, want unchanged", stage, got)
		}
	}
	for file, modified := range w.mirrored() {
		if before[file] != modified {
			t.Errorf("%s was written again although nothing changed", file)
		}
	}
	w.exits(exit.OK, "state", "verify")
}

func TestStateFromHosts_LetsALaptopGoOnAfterCI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	laptop := filepath.Join(w.dir, "kstep-state")
	left := w.keep("laptop")
	w.forget()
	w.stages("v2", "assets", "env-push", "boot", "barrier-wait")
	w.forget()
	if err := os.Rename(left, laptop); err != nil { // The laptop has an older release's files.
		t.Fatal(err)
	}
	_, stderr := w.exits(exit.OK, "cutover", "--state-from", "hosts")
	if !strings.Contains(stderr, "from the hosts") {
		t.Errorf("the output does not tell where the state came from:\n%s", stderr)
	}
	w.serves("v2")
	w.exits(exit.OK, "prune")
}

// keep moves the state folder out of the way, and returns where it is.
func (w *world) keep(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.Rename(filepath.Join(w.dir, "kstep-state"), dir); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func TestStateFromHosts_TakesShardsOfOtherRunners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1", "--state-from", "hosts")
	for _, stage := range stagesOnHosts()[:len(stagesOnHosts())-1] {
		shards := [][]string{{"--roles", "web"}, {"--roles", "job"}}
		for _, shard := range shards {
			w.forget()
			w.exits(exit.OK, append(shard, stage, "--state-from", "hosts")...)
		}
	}
	w.forget()
	w.exits(exit.OK, "prune", "--state-from", "hosts")
	w.serves("v1")
}

func TestStateFromHosts_SaysWhatToRunWhenTheMirrorIsEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stderr := w.exits(exit.MissingState, "boot", "--state-from", "hosts")
	if !strings.Contains(stderr, "kstep push") || !strings.Contains(stderr, "kstep assets") {
		t.Errorf("the message has no remedy:\n%s", stderr)
	}
}

func TestStateFromHosts_RefusesADamagedMirror(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stages("v1", "assets", "env-push")
	w.forget()
	for file := range w.mirrored() {
		path := filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "state", file)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(data), `"v1"`, `"v7"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr := w.exits(exit.BadState, "boot", "--state-from", "hosts")
	if !strings.Contains(stderr, "sum does not match") {
		t.Errorf("the message does not tell what is wrong:\n%s", stderr)
	}
}

func TestMirror_ForgetsReleasesThatNothingIsKeptOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("retain: 1\n")
	for _, version := range []string{"v1", "v2", "v3"} {
		w.deploy(version)
	}
	releases := map[string]bool{}
	for file := range w.mirrored() {
		releases[filepath.Dir(file)] = true
	}
	if len(releases) != 2 {
		t.Errorf("the mirror keeps %d releases, want those of v3 and v2: %v", len(releases), releases)
	}
}

func TestStateFromHosts_IsMadeAgainFromLabelsAndLedgersWhenTheMirrorIsGone(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.replicas(extra+"env: {secret: [TOKEN]}\n", "2")
			w.env["TOKEN"] = "hush"
			w.deploy("v1")
			w.replace("replicas: 2", "replicas: 3")
			w.pushed("v2")
			w.exits(exit.OK, "assets")
			w.exits(exit.OK, "env-push")
			delete(w.env, "TOKEN") // The rest needs none.
			for _, stage := range stagesOnHosts()[2:] {
				w.forget()
				w.unmirror()
				_, stderr := w.exits(exit.OK, stage, "--state-from", "hosts")
				if !strings.Contains(stderr, "again from what is on the hosts") {
					t.Errorf("%s does not tell where its state came from:\n%s", stage, stderr)
				}
			}
			w.serves("v2")
			w.exits(exit.OK, "state", "verify")
			w.forget()
			w.unmirror()
			w.exits(exit.OK, "prune", "--state-from", "hosts")
			if got := w.state("prune")["status"]; got != "unchanged" {
				t.Errorf("prune run again says %v, want unchanged", got)
			}
		})
	}
}

func TestStateFromHosts_NamesTheStageThatHasToRunWhenTheMirrorIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pushed("v1")
	w.exits(exit.OK, "assets")
	w.forget()
	w.unmirror()
	_, stderr := w.exits(exit.MissingState, "cutover", "--state-from", "hosts")
	if !strings.Contains(stderr, "kstep boot") {
		t.Errorf("the message has no remedy:\n%s", stderr)
	}
}

// unmirror removes the copies of state files from the lease host.
func (w *world) unmirror() {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "state")); err != nil {
		w.t.Fatal(err)
	}
}
