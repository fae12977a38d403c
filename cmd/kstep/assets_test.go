package main

import (
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
			w := newWorld(t)
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
// container may say where.
func TestAssets_AreReadOnlyForContainers(t *testing.T) {
	t.Parallel()
	for name, writable := range map[string]bool{"by default": false, "writable": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
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
					if lent := err == nil; lent == (writable && version == "v1" && asset == "v2") {
						t.Errorf("%s has the asset of %s: %t", version, asset, lent)
					}
				}
			}
			manifest, err := os.ReadFile(filepath.Join(w.mounted("vm1", "shop-web-v1", "/app/assets"), "manifest.json"))
			if want := "v1"; err != nil || string(manifest) != want {
				t.Errorf("the old version's manifest is %q, %v, want %q", manifest, err, want)
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

// TestAssets_AreLentAcrossANewNameOfTheRole: a page of the old version asks the
// new one for its files, whatever the role was called.
func TestAssets_AreLentAcrossANewNameOfTheRole(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
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
	w := newWorld(t)
	w.replace("  web: [vm1, vm2]\n", "  web: [vm1, vm2]\n  web-admin: {hosts: [vm1], healthcheck: {cmd: \"true\"}, asset_path: /app/assets}\n")
	w.replace("asset_path: /app/assets\nhealthcheck", "asset_paths: [/app/assets, /app/packs]\nhealthcheck")
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
