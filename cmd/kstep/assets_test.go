package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// mounted is the folder of a host that a container has at a path.
func (w *world) mounted(hostName, container, inside string) string {
	w.t.Helper()
	c, err := w.hosts[hostName].Look().Inspect(w.t.Context(), container)
	if err != nil {
		w.t.Fatal(err)
	}
	at := slices.IndexFunc(c.Mounts, func(m engine.Mount) bool { return m.Target == inside })
	if at < 0 {
		w.t.Fatalf("%s has nothing at %s", container, inside)
	}
	return c.Mounts[at].Source
}

// sees expects what the containers of versions have in a file.
func (w *world) sees(file string, want map[string]string) {
	w.t.Helper()
	for version, text := range want {
		data, err := os.ReadFile(filepath.Join(w.mounted("vm1", "shop-web-"+version, filepath.Dir(file)), filepath.Base(file)))
		if err != nil || string(data) != text {
			w.t.Errorf("%s sees %s of %q (%v), want of %s", version, file, data, err, text)
		}
	}
}

func TestAssets_AStableNameFollowsItsRuleForthAndBack(t *testing.T) {
	t.Parallel()
	for rule, forth := range map[string]map[string]string{
		"":    {"v1": "v1", "v2": "v2"},
		"new": {"v1": "v2", "v2": "v2"},
		"old": {"v1": "v1", "v2": "v1"},
	} {
		t.Run("on_conflict: "+rule, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withAssets()
			if rule != "" {
				w.append("assets: {/app/assets: {on_conflict: " + rule + "}}\n")
			}
			back := map[string]string{"v1": "v1", "v2": "v2"}
			if rule != "" {
				other := map[string]string{"new": "v1", "old": "v2"}[rule]
				back = map[string]string{"v1": other, "v2": other}
			}
			w.deploy("v1")
			w.deploy("v2")
			w.sees("/app/assets/manifest.json", forth)
			for range 2 {
				w.exits(exit.OK, "rollback", "v1")
				w.sees("/app/assets/manifest.json", back)
				w.exits(exit.OK, "rollback", "v2")
				w.sees("/app/assets/manifest.json", forth)
			}
			w.exits(exit.OK, "assets")
			if got := w.state("assets")["status"]; got != "unchanged" {
				t.Errorf("assets run again says %v, want unchanged", got)
			}
			for _, version := range []string{"v1", "v2"} { // What each brought, both have.
				w.sees("/app/assets/app-"+version+".css", map[string]string{"v1": version, "v2": version})
			}
		})
	}
}

// TestAssets_AreReadOnlyForContainers: kstep writes there as the SSH user, so no
// container may say where. One that may write gets its files all the same, through
// the engine, and shares none with another version.
func TestAssets_AreReadOnlyForContainers(t *testing.T) {
	t.Parallel()
	for name, writable := range map[string]bool{"by default": false, "writable": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withAssets()
			if writable {
				w.append("assets: {/app/assets: {writable: true, on_conflict: new}}\n")
			}
			w.deploy("v1")
			w.deploy("v2")
			for _, version := range []string{"v1", "v2"} {
				c, err := w.hosts["vm1"].Look().Inspect(t.Context(), "shop-web-"+version)
				if err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(c.Mounts, func(m engine.Mount) bool { return m.Target == "/app/assets" })
				if c.Mounts[at].ReadOnly == writable {
					t.Errorf("%s: the mount is %+v", version, c.Mounts[at])
				}
				for _, asset := range []string{"v1", "v2"} {
					_, err := os.Stat(filepath.Join(c.Mounts[at].Source, "app-"+asset+".css"))
					if err != nil {
						t.Errorf("%s lacks the asset of %s: %v", version, asset, err)
					}
				}
			}
			manifest, err := os.ReadFile(filepath.Join(w.mounted("vm1", "shop-web-v1", "/app/assets"), "manifest.json"))
			if want := "v1"; err != nil || string(manifest) != want {
				t.Errorf("the old version's manifest is %q, %v, want %q", manifest, err, want)
			}
			if writable {
				w.sharesNoFile("vm1", "shop-web-v1", "shop-web-v2")
			}
			root := filepath.Join(w.hosts["vm1"].Home, ".kstep/shop/assets")
			if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s is for others: %v, %v", root, info.Mode(), err)
			}
			w.exits(exit.OK, "assets")
			if got := w.state("assets")["status"]; got != "unchanged" {
				t.Errorf("assets run again says %v, want unchanged", got)
			}
		})
	}
}

// TestAssets_AreLentAcrossANewNameOfTheRole: a page of the old version requests
// its files from the new one, whatever the role was called.
func TestAssets_AreLentAcrossANewNameOfTheRole(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.withAssets()
			w.deploy("v1")
			worker := w.mounted("vm3", "shop-job-v1", "/app/assets")
			w.renamed("zweb")
			p := w.planned("--image", w.image("v2"), "--version", "v2")
			w.deploy("v2")
			w.agrees(p, "assets")
			for _, host := range []string{"vm1", "vm2"} {
				for _, name := range []string{"shop-web-v1", "shop-zweb-v2"} {
					for _, version := range []string{"v1", "v2"} {
						if _, err := os.Stat(filepath.Join(w.mounted(host, name, "/app/assets"), "app-"+version+".css")); err != nil {
							t.Errorf("%s on %s lacks an asset of %s: %v", name, host, version, err)
						}
					}
				}
			}
			if _, err := os.Stat(filepath.Join(worker, "app-v2.css")); err != nil {
				t.Errorf("the worker that kept its name lacks an asset of v2: %v", err)
			}
		})
	}
}

func TestAssets_OfSeveralPathsHiddenOnesTooAndOfNoOtherRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withAssets()
	w.replace("  web: [vm1, vm2]\n", "  web: [vm1, vm2]\n  web-admin: {hosts: [vm1], healthcheck: {cmd: \"true\"}, asset_path: /app/assets}\n")
	w.replace("asset_path: /app/assets\nimage", "asset_paths: [/app/assets, /app/packs]\nimage")
	w.deploy("v1")
	admin := w.mounted("vm1", "shop-web-admin-v1", "/app/assets")
	w.exits(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
	_, stderr := w.exits(exit.OK, "assets", "--roles", "web")
	if strings.Contains(stderr, "admin") {
		t.Errorf("want nothing of another role touched:\n%s", stderr)
	}
	entries, err := os.ReadDir(admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), "v2") {
			t.Errorf("web-admin got %s, an asset of the role web", e.Name())
		}
	}
	for _, stage := range []string{"assets", "env-push", "boot", "barrier-wait", "cutover"} {
		w.exits(exit.OK, stage)
	}
	for _, version := range []string{"v1", "v2"} {
		for _, file := range []string{"/app/packs/" + version + ".js", "/app/assets/app-" + version + ".css"} {
			w.sees(file, map[string]string{"v1": version, "v2": version})
		}
		for _, holder := range []string{"v1", "v2"} {
			key := filepath.Join(w.mounted("vm1", "shop-web-"+holder, "/app/assets"), ".keys", version)
			if _, err := os.Stat(key); err != nil {
				t.Errorf("%s lacks a hidden file of %s: %v", holder, version, err)
			}
		}
	}
}

func putFile(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// sharesNoFile expects that no file that a container can write in its asset folder
// is one that another container has, or that kstep keeps.
func (w *world) sharesNoFile(hostName, container string, others ...string) {
	w.t.Helper()
	mine := w.mounted(hostName, container, "/app/assets")
	var theirs []string
	for _, other := range others {
		folder := w.mounted(hostName, other, "/app/assets")
		theirs = append(theirs, folder, filepath.Join(filepath.Dir(folder), "own"))
	}
	for _, file := range []string{"app-v1.css", "app-v2.css", "manifest.json", ".keys/v1", ".keys/v2"} {
		one, err := os.Stat(filepath.Join(mine, file))
		if err != nil {
			continue // Others see to that.
		}
		for _, folder := range theirs {
			if two, err := os.Stat(filepath.Join(folder, file)); err == nil && os.SameFile(one, two) {
				w.t.Errorf("%s of %s is the same file as in %s", file, container, folder)
			}
		}
	}
}

// earlier makes a container one that a kstep made which mounted all asset folders
// so that containers could write, with links to the image's own files.
func (w *world) earlier(hostName, container string) {
	w.t.Helper()
	now := w.mounted(hostName, container, "/app/assets")
	then := filepath.Join(filepath.Dir(now), "all")
	image := filepath.Dir(filepath.Dir(now))
	if err := errors.Join(
		os.Rename(now, then),
		os.WriteFile(filepath.Join(image, "complete.json"), []byte(`{"paths":["/app/assets"]}`), 0o644),
		os.Remove(filepath.Join(image, "bridge.json")),
		w.hosts[hostName].Engine.Remount(container, "/app/assets", then),
	); err != nil {
		w.t.Fatal(err)
	}
}

// TestAssets_OfAnEarlierKstepAreTakenOver: its containers can write, are given the
// new version's files by the engine, and nothing is missing on either side.
func TestAssets_OfAnEarlierKstepAreTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withAssets()
	w.deploy("v1")
	for _, host := range []string{"vm1", "vm2"} {
		w.earlier(host, "shop-web-v1")
	}
	p := w.planned("--image", w.image("v2"), "--version", "v2")
	w.deploy("v2")
	w.agrees(p, "assets")
	for _, version := range []string{"v1", "v2"} {
		w.sees("/app/assets/app-"+version+".css", map[string]string{"v1": version, "v2": version})
		for _, holder := range []string{"v1", "v2"} {
			w.read(filepath.Join(w.mounted("vm1", "shop-web-"+holder, "/app/assets"), ".keys", version))
		}
	}
	w.sees("/app/assets/manifest.json", map[string]string{"v1": "v1", "v2": "v2"})
	w.sharesNoFile("vm1", "shop-web-v1", "shop-web-v2")
	w.exits(exit.OK, "assets")
	if got := w.state("assets")["status"]; got != "unchanged" {
		t.Errorf("assets run again says %v, want unchanged", got)
	}
	// A rollback starts the container again as it was made.
	w.deploy("v3")
	w.exits(exit.OK, "rollback", "v1")
	if folder := w.mounted("vm1", "shop-web-v1", "/app/assets"); filepath.Base(folder) != "all" {
		t.Errorf("gone back to, v1 has %s, want its own folder", folder)
	}
	w.sees("/app/assets/app-v1.css", map[string]string{"v1": "v1", "v3": "v1"})
	w.sees("/app/assets/app-v3.css", map[string]string{"v1": "v3", "v3": "v3"})
	w.sharesNoFile("vm1", "shop-web-v1", "shop-web-v2", "shop-web-v3")
	w.exits(exit.OK, "deploy", "--image", w.image("v1"), "--version", "v1")
	if folder := w.mounted("vm1", "shop-web-v1", "/app/assets"); filepath.Base(folder) != "ro" {
		t.Errorf("deployed again, v1 has %s, want it read-only", folder)
	}
	for _, version := range []string{"v1", "v3"} {
		w.sees("/app/assets/app-"+version+".css", map[string]string{"v1": version, "v3": version})
	}
}

// TestAssets_GoNowhereThatAContainerPointsTo: a container puts links and folders
// where the next version's files are to be. The deploy goes on, forth and back,
// and nothing outside of the container's own folder changes.
func TestAssets_GoNowhereThatAContainerPointsTo(t *testing.T) {
	t.Parallel()
	type trap struct{ at, to string }
	for name, traps := range map[string][]trap{
		"links to a folder of the host and its files": {
			{".keys", "VICTIM"}, {"app-v2.css", "VICTIM/kept"}, {"manifest.json", "VICTIM/kept"},
			{"\nVICTIM\n", ""}, {"a\nVICTIM/kept", ""},
		},
		"links to links, to nothing, and a relative one": {
			{".keys", "../../../../../../victim"}, {"app-v2.css", "hop"}, {"hop", "VICTIM/made"}, {"manifest.json", "/nonexistent"},
		},
		"a file in place of a folder, folders in place of files": {
			{".keys", "FILE"}, {"app-v2.css", ""}, {"manifest.json", ""},
		},
		"a link below a folder, and one to itself": {
			{".keys/v2", "VICTIM/v2"}, {"app-v2.css", "app-v2.css"}, {"manifest.json", "VICTIM"},
		},
	} {
		for kind, writable := range map[string]bool{"writable": true, "of an earlier kstep": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t).withAssets()
				if writable {
					w.append("assets: {/app/assets: {writable: true, on_conflict: new}}\n")
				} else {
					w.append("assets: {/app/assets: {on_conflict: new}}\n")
				}
				w.deploy("v1")
				if !writable {
					w.earlier("vm1", "shop-web-v1")
				}
				victim := filepath.Join(w.hosts["vm1"].Root, "victim")
				putFile(t, filepath.Join(victim, "kept"), "as it was")
				putFile(t, filepath.Join(victim, "v2"), "as it was")
				folder := w.mounted("vm1", "shop-web-v1", "/app/assets")
				for _, trap := range traps {
					at := filepath.Join(folder, strings.ReplaceAll(trap.at, "VICTIM", victim))
					if err := os.RemoveAll(at); err != nil {
						t.Fatal(err)
					}
					var err error
					switch trap.to {
					case "":
						err = os.MkdirAll(at, 0o755)
					case "FILE":
						putFile(t, at, "")
					default:
						err = os.Symlink(strings.ReplaceAll(trap.to, "VICTIM", victim), at)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				w.exits(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
				w.exits(exit.OK, "rollback", "v1")
				entries, err := os.ReadDir(victim)
				if err != nil || len(entries) != 2 {
					t.Errorf("the folder that a container named has %v, %v", entries, err)
				}
				for _, file := range []string{"kept", "v2"} {
					if got := w.read(filepath.Join(victim, file)); got != "as it was" {
						t.Errorf("the file %s that a container named is %q", file, got)
					}
				}
				w.sees("/app/assets/app-v2.css", map[string]string{"v2": "v2"})
				w.sees("/app/assets/app-v1.css", map[string]string{"v2": "v1"})
			})
		}
	}
}
