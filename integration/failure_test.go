//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBarrier_ClosesOnABrokenImageAndTheOldVersionServesOn(t *testing.T) {
	t.Parallel()
	s := settings{extra: "healthcheck: {interval: 200ms, retries: 5}\n"}
	w := begin(t, s)
	w.must("deploy")
	before := map[string][]string{"vm1": w.running("vm1"), "vm2": w.running("vm2"), "vm3": w.running("vm3")}
	load := w.traffic()
	for _, c := range []struct{ version, flags, shown string }{
		{"exits-at-once", "exit", "exit status 3"},
		{"never-healthy", "unhealthy", "503"},
	} {
		w.commit(s.version(c.version, c.flags))
		result := w.exits(13, "deploy")
		w.serves("v1")
		for host, want := range before {
			w.runs(host, want...)
		}
		if !strings.Contains(result.Stderr, c.shown) {
			t.Errorf("%s: the output does not tell %q:\n%s", c.version, c.shown, result.Stderr)
		}
		if got := w.state("barrier-wait")["exitCode"]; got != 13.0 {
			t.Errorf("%s: barrier-wait.json says exit code %v, want 13", c.version, got)
		}
	}
	w.lostNothing(load, 600)
}

func TestState_OfAnotherWorldIsRefusedAndNothingIsTouched(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	w.must("deploy")
	dir := filepath.Join(w.app.Dir, "kstep-state")
	before := w.snapshot()
	push := filepath.Join(dir, "push.json")
	good, err := os.ReadFile(push)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content string
		exit    int
		remedy  string
	}{
		"missing":         {"", 22, "kstep push"},
		"cut short":       {string(good[:len(good)/2]), 21, "push.json"},
		"edited":          {strings.Replace(string(good), `"version": "`, `"version": "x`, 1), 21, "push.json"},
		"another tool":    {`{"builds":[{"imageName":"shop","tag":"shop:1"}]}`, 21, "push.json"},
		"a newer kstep":   {strings.Replace(string(good), "kstep/v1", "kstep/v9", 1), 21, "v9"},
		"another service": {strings.Replace(string(good), `"service": "shop"`, `"service": "other"`, 1), 21, "push.json"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, rig: w.rig, app: w.app}
			if c.content == "" {
				os.Remove(push)
			} else if err := os.WriteFile(push, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			result := w.exits(c.exit, "boot")
			if !strings.Contains(result.Stderr, c.remedy) || !strings.Contains(result.Stderr, "hint: ") {
				t.Errorf("the message has no remedy:\n%s", result.Stderr)
			}
			if diff := before.Diff(w.snapshot()); diff != "" {
				t.Errorf("a refused state file still changed the hosts:\n%s", diff)
			}
		})
	}
}

func TestCutover_OfAnOlderReleaseIsRefusedOnceANewerWasThere(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	for _, stage := range allStages()[:6] {
		w.must(stage)
	}
	old := filepath.Join(w.app.Dir, "old-state")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(w.app.Dir, "kstep-state"))); err != nil {
		t.Fatal(err)
	}
	w.commit(s.version("v2", ""))
	w.must("lock", "release", "--force") // The first pipeline stopped in the middle.
	w.must("deploy")
	before := w.snapshot()
	if r := w.kstep("--state-dir", "old-state", "cutover"); r.Exit != 20 && r.Exit != 21 {
		t.Errorf("the older release's cutover ends with %d, want 20 or 21\n%s", r.Exit, r.Stderr)
	}
	if diff := before.Diff(w.snapshot()); diff != "" {
		t.Errorf("the older release changed the hosts:\n%s", diff)
	}
	w.serves("v2")
}
