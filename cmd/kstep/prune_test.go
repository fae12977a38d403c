package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	for _, version := range []string{"v1", "v2"} {
		w.deploy(version)
	}
	w.configure("retain: 1\n")
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
	w := newWorld(t)
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
	w := newWorld(t)
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
