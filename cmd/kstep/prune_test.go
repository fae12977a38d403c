package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Versions that differ in nothing but their name share one image: it stays for
// those that are kept, and the names of the others go.
func TestPrune_TakesTheTagsOfOldVersionsOfTheSameImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("retain: 2\n")
	ref := w.image("v1")
	for _, version := range []string{"one", "two", "three"} {
		w.exits(exit.OK, "deploy", "--image", ref, "--version", version)
	}
	look := w.hosts["vm1"].Look()
	defer look.CloseIdle()
	images, err := look.Images(t.Context(), engine.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	repository := w.registry.Host() + "/acme/shop:"
	var tags []string
	for _, image := range images {
		tags = append(tags, image.Tags...)
	}
	for tag, want := range map[string]bool{"one": false, "two": true, "three": true, "latest": true} {
		if slices.Contains(tags, repository+tag) != want {
			t.Errorf("vm1 has %v: %s is there: %t, want %t", tags, tag, !want, want)
		}
	}
}

func TestPrune_DryRunShowsWhatWouldGoAndRemovesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, version := range []string{"v1", "v2", "v3"} {
		w.deploy(version)
	}
	w.configure("retain: 1\n") // The version before the live one stays all the same.
	before := len(w.containers("vm1"))
	stdout, _ := w.exits(exit.OK, "prune", "--dry-run")
	if !strings.Contains(stdout, "shop-web-v1") || strings.Contains(stdout, "boot") {
		t.Errorf("it shows:\n%s", stdout)
	}
	if now := len(w.containers("vm1")); now != before {
		t.Errorf("vm1 has %d containers, want %d as before", now, before)
	}
	w.exits(exit.OK, "prune")
	if now := len(w.containers("vm1")); now != before-1 {
		t.Errorf("after prune vm1 has %d containers, want %d", now, before-1)
	}
}

func TestPrune_RemovesWhatAKilledRunMadeToCopyAssets(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withAssets()
	w.deploy("v1")
	ref := w.image("v2")
	if !w.killedAt(func(op host.Op) bool { return op.Name == "HEAD /containers/{}/archive" }, "deploy", "--image", ref, "--version", "v2") {
		t.Fatal("it was not killed")
	}
	left := func() (all []string) {
		for _, name := range []string{"vm1", "vm2", "vm3"} {
			all = append(all, slices.DeleteFunc(w.names(name), func(c string) bool { return !strings.HasSuffix(c, "_assets") })...)
		}
		return all
	}
	if len(left()) == 0 {
		t.Fatal("it left nothing behind")
	}
	w.exits(exit.OK, "lock", "release", "--force")
	w.deploy("v3")
	if names := left(); len(names) > 0 {
		t.Errorf("the next deploy leaves %v", names)
	}
}

// TestPrune_RemovesNoPathThatAContainerNames: a folder that a container can write
// holds names that look like half written files, or like a list of them.
func TestPrune_RemovesNoPathThatAContainerNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withAssets()
	w.append("assets: {/app/assets: {writable: true}}\n")
	w.deploy("v1")
	victim := filepath.Join(w.hosts["vm1"].Root, "victim")
	folder := w.mounted("vm1", "shop-web-v1", "/app/assets")
	for _, below := range []string{
		"\n" + victim + "\n",               // A line of its own in a list by lines.
		"a\n" + victim + "/.x.kstep-y.tmp", // One that has a right name.
		"plain",
	} {
		dir := filepath.Join(folder, below)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, ".a.kstep-b.tmp")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"kept", ".x.kstep-y.tmp"} {
		if err := os.MkdirAll(victim, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(victim, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.halfWritten("vm1", ".kstep/shop/env/.web.json.kstep-abcdefghij.tmp", time.Hour)
	_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
	if strings.Count(stderr, "half written") != 1 {
		t.Errorf("prune removed other files than its own one:\n%s", stderr)
	}
	for _, file := range []string{filepath.Join(victim, "kept"), filepath.Join(victim, ".x.kstep-y.tmp"), filepath.Join(folder, "plain/.a.kstep-b.tmp")} {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("prune removed %q", file)
		}
	}
}

// TestPrune_KeepsTheVersionThatServedBefore goes by the order of service: the
// containers of a version that was gone back to are older than those of the
// version that was left.
func TestPrune_KeepsTheVersionThatServedBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		retain, before string   // Versions to deploy, and <V to go back to V.
		last           string   // Is deployed then.
		want           []string // The versions kept, with what is live.
	}{
		"after a rollback":                       {"retain: 2", "A B <A", "C", []string{"A", "C"}},
		"after a rollback to the oldest of five": {"retain: 5", "A B C D E <A", "F", []string{"A", "C", "D", "E", "F"}},
		"after an old commit":                    {"retain: 2", "A B A", "C", []string{"A", "C"}},
		"with no room for it":                    {"retain: 1", "A B <A", "C", []string{"A", "C"}},
		"with images that are too large":         {"retain: 5\nretain_size: 1", "A B <A", "C", []string{"A", "C"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(c.retain + "\n")
			for word := range strings.FieldsSeq(c.before) {
				w.forget()
				if version, back := strings.CutPrefix(word, "<"); back {
					w.exits(exit.OK, "rollback", version)
				} else {
					w.deploy(word)
				}
			}
			w.forget()
			w.deploy(c.last)
			for host, role := range map[string]string{"vm1": "web", "vm3": "job"} {
				var kept []string
				for name := range w.containersOf(host) {
					if version, own := strings.CutPrefix(name, "shop-"+role+"-"); own {
						kept = append(kept, version)
					}
				}
				slices.Sort(kept)
				if !slices.Equal(kept, c.want) {
					t.Errorf("%s keeps %v, want %v", host, kept, c.want)
				}
			}
			w.forget()
			w.exits(exit.OK, "rollback")
			w.serves("A")
		})
	}
}

func TestPrune_DoesNotFailWhileTheEnginePrunesForAnother(t *testing.T) {
	t.Parallel()
	const left = "images without a name stay on vm1 until the next prune"
	for name, c := range map[string]struct {
		busy   int
		notice bool
	}{
		"a moment":         {2, false},
		"longer than that": {1000, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.hosts["vm1"].Engine.PruneBusily(c.busy)
			_, stderr := w.exits(exit.OK, "deploy", "--image", w.image("v1"), "--version", "v1")
			if strings.Contains(stderr, left) != c.notice {
				t.Errorf("it says %q: %t, want %t\n%s", left, !c.notice, c.notice, stderr)
			}
		})
	}
}

func TestPrune_OfOneReleaseMayRunTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("retain: 1\n")
	for _, version := range []string{"v1", "v2"} {
		w.deploy(version)
	}
	w.stages("v3", "assets", "env-push", "boot", "barrier-wait", "cutover")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if code, _, stderr := w.kstep("prune"); code != exit.OK {
				t.Errorf("exit code %d:\n%s", code, stderr)
			}
		})
	}
	both.Wait()
	if _, kept := w.containersOf("vm1")["shop-web-v1"]; kept {
		t.Error("shop-web-v1 was not removed")
	}
}

// A version that was deployed twice has two releases, with the same names of its
// image.
func TestPrune_NamesAnImageOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append("retain: 1\n")
	w.deploy("v1")
	w.exits(exit.OK, "redeploy", "--image", w.image("v1"), "--version", "v1")
	w.deploy("v2")
	args := []string{"--image", w.image("v3"), "--version", "v3"}
	told := map[string]int{}
	for _, stage := range w.planned(args...).Stages {
		for _, target := range stage.Targets {
			for _, c := range target.Changes {
				if strings.Contains(c.Do, "acme/shop:v1") {
					told["plan: "+target.Host+" "+c.Do]++
				}
			}
		}
	}
	if len(told) == 0 {
		t.Error("plan does not name the image of v1")
	}
	_, stderr := w.exits(exit.OK, append([]string{"deploy"}, args...)...)
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "acme/shop:v1") {
			told[strings.TrimSpace(line)]++
		}
	}
	if len(told) < 6 {
		t.Errorf("prune does not name the image of v1 on each host:\n%s", stderr)
	}
	for line, count := range told {
		if count > 1 {
			t.Errorf("%q comes %d times", line, count)
		}
	}
}

// TestPrune_RemovesNothingThroughALink: in a run directory that others can write,
// a folder of kstep's may have become a link to another one.
func TestPrune_RemovesNothingThroughALink(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"cords", "assets"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withAssets()
			w.deploy("v1")
			victim := filepath.Join(w.hosts["vm1"].Root, "victim")
			for _, file := range []string{"kept/file", "web@v0-12345678/cord", "file"} {
				putFile(t, filepath.Join(victim, file), "as it was")
			}
			at := filepath.Join(w.hosts["vm1"].Home, ".kstep/shop", folder)
			if err := os.Rename(at, at+"-elsewhere"); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, at); err != nil {
				t.Fatal(err)
			}
			_, stderr := w.exits(exit.Partial, "prune")
			if !strings.Contains(stderr, folder+" is a link, not a folder") {
				t.Errorf("prune does not say why it removes nothing:\n%s", stderr)
			}
			for _, file := range []string{"kept/file", "web@v0-12345678/cord", "file"} {
				if got := w.read(filepath.Join(victim, file)); got != "as it was" {
					t.Errorf("%s is %q", file, got)
				}
			}
		})
	}
}
