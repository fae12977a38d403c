package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// containersOf are a host's, by name.
func (w *world) containersOf(host string) map[string]engine.Container {
	w.t.Helper()
	found := map[string]engine.Container{}
	for _, c := range w.containers(host) {
		found[c.Name] = c
	}
	return found
}

func TestRollback_StartsTheRetainedContainersAgainAsTheyWere(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra + "env: {clear: {LEVEL: old}, secret: [TOKEN]}\n")
			w.env["TOKEN"] = "one"
			w.deploy("v1")
			before := w.containersOf("vm1")["shop-web-v1"].ID
			w.configure(extra + "env: {clear: {LEVEL: new}, secret: [TOKEN]}\n")
			_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
			if !strings.Contains(stderr, "a rollback to v1 is ready on 3 of 3 targets") {
				t.Errorf("the end of a deploy does not tell of the way back:\n%s", stderr)
			}
			delete(w.env, "TOKEN") // A rollback needs no secret,
			w.registry.Close()     // and no registry.
			w.forget()
			w.exits(exit.OK, "rollback")
			w.serves("v1")
			if now := w.containersOf("vm1")["shop-web-v1"].ID; now != before {
				t.Error("the container was made anew")
			}
			_, stderr = w.exits(exit.Failed, "rollback") // v2 was rolled back.
			if !strings.Contains(stderr, "it was rolled back: kstep rollback v2") {
				t.Errorf("the refusal does not tell what is ready:\n%s", stderr)
			}
			w.exits(exit.OK, "rollback", "v2")
			w.serves("v2")
			w.exits(exit.OK, "rollback") // To what served before it.
			w.serves("v1")
		})
	}
}

func TestReleases_AreShownWhereAnEnvFileIsBroken(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{"cut off": `{"TOKEN": "o`, "empty": "", "of another kind": "TOKEN=one\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("env: {secret: [TOKEN]}\n")
			w.env["TOKEN"] = "one-token"
			w.deploy("v1")
			w.deploy("v2")
			file := filepath.Join(w.hosts["vm1"].Home, ".kstep", "shop", "env", "web.json")
			if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			w.exits(exit.OK, "releases")
			w.exits(exit.OK, "status")
		})
	}
}

func TestRollback_FreshMakesContainersWithTheConfigurationOfNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	before := w.containersOf("vm1")["shop-web-v1"].ID
	w.deploy("v2")
	w.replicas("env: {clear: {LEVEL: new}}\n", "2")
	w.exits(exit.OK, "rollback", "--fresh")
	w.serves("v1")
	w.works("vm1", "shop-web-v1", "shop-web.2-v1")
	if now := w.containersOf("vm1")["shop-web-v1"]; now.ID == before || now.ID == "" {
		t.Errorf("the container is the old one")
	}
}

func TestRollback_RefusesWhatIsNotReadyAndTellsWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, stderr := w.exits(exit.Failed, "rollback")
	if !strings.Contains(stderr, "no earlier version is ready") {
		t.Errorf("before the first deploy:\n%s", stderr)
	}
	for _, version := range []string{"v1", "v2", "v3"} {
		w.deploy(version)
	}
	look := w.hosts["vm2"].Look()
	defer look.CloseIdle()
	if err := look.Remove(t.Context(), w.containersOf("vm2")["shop-web-v2"].ID); err != nil {
		t.Fatal(err)
	}
	_, stderr = w.exits(exit.Failed, "rollback", "v2")
	for _, want := range []string{"web@vm2: its container was removed", "kstep rollback v1", "--fresh"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
	if _, stderr = w.exits(exit.Failed, "rollback", "v7"); !strings.Contains(stderr, "no host knows version v7") {
		t.Errorf("a version that never was:\n%s", stderr)
	}
	w.serves("v3")
	stdout, _ := w.exits(exit.OK, "releases")
	t.Log("\n" + stdout)
	for _, want := range []string{"2 of 3: web@vm2: its container was removed", "ready", "3 of 3"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if _, stderr = w.exits(exit.OK, "rollback"); !strings.Contains(stderr, "version v2 served later than v1, but is not ready: web@vm2") {
		t.Errorf("it passes a version without a word:\n%s", stderr)
	}
	w.serves("v1")
}

func TestPrune_GivesNoPlaceToReleasesThatNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("retain: 2\n")
	w.deploy("v1")
	for _, broken := range []string{"v2", "v3"} {
		w.behave(broken, hosttest.Behaviour{Exit: new(1)})
		w.exits(exit.BarrierClosed, "deploy", "--image", w.image(broken), "--version", broken)
	}
	w.deploy("v4")
	for name := range w.containersOf("vm1") {
		if name == "shop-web-v2" || name == "shop-web-v3" {
			t.Errorf("%s of a release that failed is still there", name)
		}
	}
	w.exits(exit.OK, "rollback")
	w.serves("v1")
}

func (w *world) releasesReport() releasesReport {
	w.t.Helper()
	stdout, _ := w.exits(exit.OK, "releases", "--output", "json")
	_, rest, _ := strings.Cut(stdout, `{"service"`) // After the events.
	line, _, _ := strings.Cut(rest, "\n")
	var report releasesReport
	if err := json.Unmarshal([]byte(`{"service"`+line), &report); err != nil {
		w.t.Fatal(err)
	}
	return report
}

// TestRollback_IsToldByOneRule: the end of a deploy, releases, status and rollback
// agree on where a rollback goes.
func TestRollback_IsToldByOneRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("proxy: {switch: cord}\n")
	agree := func(closing, want string) {
		t.Helper()
		if want != "" && !strings.Contains(closing, "a rollback to "+want+" is ready on 3 of 3 targets") {
			t.Errorf("the end does not tell of %s:\n%s", want, closing)
		}
		if status := w.statusReport(); status.Rollback != want {
			t.Errorf("status says %q, want %q", status.Rollback, want)
		}
		if releases := w.releasesReport(); releases.Rollback != want {
			t.Errorf("releases says %q, want %q", releases.Rollback, want)
		}
	}
	deploy := func(version string) string {
		t.Helper()
		w.forget()
		_, stderr := w.exits(exit.OK, "deploy", "--image", w.image(version), "--version", version)
		return stderr
	}
	back := func(args ...string) string {
		t.Helper()
		w.forget()
		_, stderr := w.exits(exit.OK, append([]string{"rollback"}, args...)...)
		return stderr
	}
	if end := deploy("v1"); !strings.Contains(end, "there is no earlier version to roll back to") {
		t.Errorf("the first deploy ends with\n%s", end)
	}
	agree(deploy("v2"), "v1")
	agree(back(), "")
	w.serves("v1")
	agree(deploy("v3"), "v1") // And not to v2, which was rolled back.
	// A version that was made for the other switch is not ready.
	w.replace("switch: cord", "switch: routes")
	end := deploy("v4")
	for _, want := range []string{"no rollback is ready", "v3 is ready on 1 of 3 targets", "web@vm1: its container was made for the switch cord"} {
		if !strings.Contains(end, want) {
			t.Errorf("the end lacks %q:\n%s", want, end)
		}
	}
	agree("", "")
	agree(deploy("v5"), "v4")
	stdout, _ := w.exits(exit.OK, "releases")
	for _, want := range []string{"ready; kstep rollback goes here", "; was rolled back"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("releases lacks %q:\n%s", want, stdout)
		}
	}
}

func TestRollback_CountsTheRoleOnAHostThatItNeverServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("hosts: [vm3]", "hosts: [vm2, vm3]") // The role job has a host more.
	w.forget()
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
	w.forget()
	code, _, refusal := w.kstep("rollback")
	ready := strings.Contains(stderr, "a rollback to v1 is ready on ")
	if ready != (code == exit.OK) {
		t.Errorf("the end of the deploy and rollback (exit code %d) do not agree:\n%s\n%s", code, stderr, refusal)
	}
}

func TestRollback_TakesTheBeginningOfAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, version := range []string{"abc1", "abd2", "xyz"} {
		w.deploy(version)
	}
	_, stderr := w.exits(exit.Usage, "rollback", "ab")
	if !strings.Contains(stderr, "several versions begin with ab: abd2, abc1") {
		t.Errorf("the refusal does not list the versions:\n%s", stderr)
	}
	w.serves("xyz")
	w.forget()
	w.exits(exit.OK, "rollback", "abc")
	w.serves("abc1")
	w.forget()
	w.exits(exit.OK, "rollback", "--fresh", "abd")
	w.serves("abd2")
}

func TestRollback_ToContainersWithASecretThatHasChangedSinceIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now  map[string]string // What the variables are when v2 is deployed.
		want []string
	}{
		"one of two":    {map[string]string{"PASSWORD": "second-password", "TOKEN": "first-token"}, []string{"PASSWORD"}},
		"both":          {map[string]string{"PASSWORD": "second-password", "TOKEN": "second-token"}, []string{"PASSWORD", "TOKEN"}},
		"none":          {map[string]string{"PASSWORD": "first-password", "TOKEN": "first-token"}, nil},
		"the other one": {map[string]string{"PASSWORD": "first-password", "TOKEN": "second-token"}, []string{"TOKEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure("env: {clear: {LEVEL: old}, secret: [PASSWORD, TOKEN]}\n")
			w.env["PASSWORD"], w.env["TOKEN"] = "first-password", "first-token"
			w.deploy("v1")
			w.configure("env: {clear: {LEVEL: new}, secret: [PASSWORD, TOKEN]}\n")
			maps.Copy(w.env, c.now)
			said := ""
			tell := func(args ...string) string {
				stdout, stderr := w.exits(exit.OK, args...)
				said += stdout + stderr
				return stdout + stderr
			}
			texts := map[string]string{"the end of a deploy": tell(w.deployArgs("v2")...), "releases": tell("releases")}
			var sum releasesReport
			if err := json.Unmarshal([]byte(tell("releases", "--output", "json")), &sum); err != nil {
				t.Fatal(err)
			}
			if got := sum.Releases[1].Rotated; !slices.Equal(got, c.want) {
				t.Errorf("got %q in JSON, want %q", got, c.want)
			}
			texts["rollback"] = tell("rollback")
			told := "made with another " + strings.Join(c.want, ", ") + " than now: kstep rollback --fresh v1"
			for where, text := range texts {
				if c.want == nil && strings.Contains(text, "made with another") || c.want != nil && !strings.Contains(text, told) {
					t.Errorf("%s, where %q changed:\n%s", where, c.want, text)
				}
			}
			for _, secret := range []string{"first-", "second-"} {
				if strings.Contains(said, secret) {
					t.Errorf("a secret was shown:\n%s", said)
				}
			}
			w.serves("v1")
		})
	}
}
