package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// of are the containers of a service's destination on a host, by name, and what
// is in its folder.
func (w *world) of(hostName, destination, folder string) (names, files []string) {
	w.t.Helper()
	for _, c := range engine.With(w.containers(hostName), map[string]string{engine.LabelService: "shop", engine.LabelDestination: destination}) {
		names = append(names, c.Name)
	}
	entries, err := os.ReadDir(filepath.Join(w.hosts[hostName].Home, ".kstep", folder))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return names, files
}

func TestRemove_TakesTheServiceOffItsHostsAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withAssets()
			if extra == "" {
				extra = "proxy: {}\n"
			}
			w.withAccessory(strings.Replace(extra, "proxy: {", "proxy: {fallback: true, ", 1) + "env: {clear: {A: b}}\n")
			w.write("kstep.staging.yml", "proxy: {hosts: [staging.example.com], fallback: false}\n")
			w.exits(exit.OK, "accessory", "boot", "db", "--hosts", "vm3")
			staging := w.job()
			staging.must(exit.OK, w.deployArgs("v1", "-d", "staging")...)
			w.deploy("v1")
			w.deploy("v2")
			w.refuses(exit.Usage, "would remove shop from vm1, vm2, vm3", "remove")
			w.refuses(exit.Usage, "choose hosts with --hosts", "remove", "--yes", "--roles", "web")
			w.serves("v2")

			w.says("removed container shop-web-v2", "remove", "--yes", "--hosts", "vm1")
			if names, _ := w.of("vm2", "", "shop"); len(names) == 0 {
				t.Error("it removed from vm2, too")
			}
			w.says("removed container shop-job-v2", "remove", "-y")
			w.says("unchanged", "remove", "-y")
			for _, host := range []string{"vm1", "vm2", "vm3"} {
				names, files := w.of(host, "", "shop")
				files = slices.DeleteFunc(files, func(name string) bool { return slices.Contains([]string{"audit.jsonl", "lease", "env"}, name) })
				if len(names) > 0 || len(files) > 0 {
					t.Errorf("%s still has %v and %v", host, names, files)
				}
				routes, err := filepath.Glob(filepath.Join(w.hosts[host].Home, ".kstep/proxy/routes/shop-*"))
				if err != nil || slices.ContainsFunc(routes, func(r string) bool { return !strings.Contains(r, "staging") }) {
					t.Errorf("%s still has the routes %v (%v)", host, routes, err)
				}
				if names, files := w.of(host, "staging", "shop-staging"); len(names) == 0 || !slices.Contains(files, "ledger.json") {
					t.Errorf("of staging, %s has %v and %v", host, names, files)
				}
			}
			if c := w.accessory("vm3", "db"); !c.Running() {
				t.Errorf("the accessory is %s", c.State)
			}
			staging.must(exit.OK, "status", "-d", "staging")
			lines, _ := w.audited("--hosts", "vm3")
			if !slices.Contains(lines, "vm3 remove  ok") {
				t.Errorf("the audit log has %q", lines)
			}
			w.deploy("v3")
			w.serves("v3")
		})
	}
}

func TestRemove_LeavesNamesOfImagesThatOthersNeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("proxy: {fallback: true}\n")
	w.write("kstep.staging.yml", "proxy: {hosts: [staging.example.com], fallback: false}\n")
	w.job().must(exit.OK, w.deployArgs("v1", "-d", "staging")...)
	w.job().must(exit.OK, w.deployArgs("v1")...)
	w.deploy("v2")
	w.exits(exit.OK, "remove", "-y")
	look := w.hosts["vm1"].Look()
	defer look.CloseIdle()
	images, err := look.Images(t.Context(), engine.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	tags := fmt.Sprint(images)
	if !strings.Contains(tags, "acme/shop:v1 ") && !strings.Contains(tags, "acme/shop:v1]") || strings.Contains(tags, "acme/shop:v2") || strings.Contains(tags, "acme/shop:latest ") {
		t.Errorf("vm1 has the images %s", tags)
	}
	w.job().must(exit.OK, w.deployArgs("v3", "-d", "staging")...)
	w.job().must(exit.OK, "rollback", "-d", "staging")
}

func TestRemove_KilledAnywhereGoesOnWhenItIsRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t).withAssets()
	k := 0
	for ; ; k += 13 { // Each deploy takes a while; all of them were tried once.
		w.deploy("v1")
		if !w.killed(k, "remove", "-y") {
			break
		}
		w.exits(exit.OK, "lock", "release", "--force")
		w.exits(exit.OK, "remove", "-y")
		for _, host := range []string{"vm1", "vm2", "vm3"} {
			names, files := w.of(host, "", "shop")
			if !slices.Equal(files, []string{"audit.jsonl", "lease"}) && !slices.Equal(files, []string{"lease"}) || len(names) > 0 {
				t.Errorf("killed at %d: %s has %v and %v", k, host, names, files)
			}
		}
	}
	if k < 28 {
		t.Errorf("it has %d operations only: is the right thing killed?", k)
	}
}
