package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// names are those of all containers of a host, the proxy aside.
func (w *world) names(hostName string) []string {
	w.t.Helper()
	var names []string
	for _, c := range w.containers(hostName) {
		if c.Labels[engine.LabelProxy] == "" {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDestinations_OnTheSameHostsDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("env: {clear: {PLACE: production}}\nproxy: {hosts: [shop.example.com]}\nretain: 1\n")
	w.write("kstep.staging.yml", "env: {PLACE: staging}\nproxy: {hosts: [staging.example.com]}\n")
	production, staging := w.job(), w.job()
	first := w.deployArgs("v1")
	production.must(exit.OK, first...)
	staging.must(exit.OK, append(slices.Clone(first), "-d", "staging")...)
	// Staging moves on, and keeps no more than the version before.
	for _, version := range []string{"v2", "v3", "v4"} {
		staging.must(exit.OK, w.deployArgs(version, "-d", "staging")...)
	}
	if got, want := w.names("vm1"), []string{"shop-web-staging-v3", "shop-web-staging-v4", "shop-web-v1"}; !slices.Equal(got, want) {
		t.Errorf("vm1 has %v, want %v", got, want)
	}
	if _, err := w.hosts["vm1"].Look().Image(t.Context(), w.registry.Host()+"/acme/shop:v1"); err != nil {
		t.Errorf("production's image went with staging's: %v", err)
	}
	for folder, want := range map[string]string{"shop": "production", "shop-staging": "staging"} {
		if got := w.envOf("vm1", folder, "web")["PLACE"]; got != want {
			t.Errorf("the env file of %s says %q, want %q", folder, got, want)
		}
	}
	production.must(exit.OK, "lock", "acquire", "-m", "hands off")
	staging.must(exit.OK, w.deployArgs("v5", "-d", "staging")...)
	production.must(exit.LeaseHeld, w.deployArgs("v2")...)
	production.must(exit.OK, "lock", "release")
	staging.must(exit.OK, "env", "delete", "-d", "staging")
	if w.envOf("vm1", "shop", "web") == nil {
		t.Error("production's env file went with staging's")
	}
	if out := production.must(exit.OK, "status"); !strings.Contains(out, "v1") || strings.Contains(out, "v5") {
		t.Errorf("production's status is\n%s", out)
	}
	// One's state files are not the other's.
	if out := staging.must(exit.BadState, "cutover"); !strings.Contains(out, "belongs to shop at staging, not to shop") {
		t.Errorf("the refusal does not tell why:\n%s", out)
	}
}

func TestDestinations_ThatWouldShareAFolderWithAnotherServiceAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("kstep.staging.yml", "{}")
	w.job().must(exit.OK, w.deployArgs("v1", "-d", "staging")...)
	before := w.picture()
	w.replace("service: shop\n", "service: shop-staging\n")
	for _, args := range [][]string{w.deployArgs("v1"), {"env", "push"}, {"env", "delete"}} {
		out := w.job().must(exit.Config, args...)
		if !strings.Contains(out, "belongs to service shop at destination staging, not to service shop-staging") {
			t.Errorf("%v: the refusal does not tell whose the folder is:\n%s", args, out)
		}
	}
	for path, was := range before {
		if now := w.picture()[path]; now != was && !strings.Contains(path, "/lease/") && !strings.Contains(path, "/state/") {
			t.Errorf("%s was changed", path)
		}
	}
}

func TestBoot_TouchesNoContainerOfAnotherServiceWithTheSameName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("proxy: {fallback: true}\n")
	w.replace("web: [vm1, vm2]\n", "web: [vm1, vm2]\n  web-more: [vm1]\n")
	w.job().must(exit.OK, w.deployArgs("v2")...)
	w.replace("service: shop\n", "service: shop-web\n")
	w.replace("web: [vm1, vm2]\n  web-more: [vm1]\n", "more: [vm1, vm2]\n")
	w.replace("proxy: {fallback: true}\n", "primary_role: more\nproxy: {hosts: [other.example.com]}\n")
	out := w.job().must(exit.Config, w.deployArgs("v2")...)
	if !strings.Contains(out, "shop-web-more-v2 on vm1 is not a container of role more of shop-web") {
		t.Errorf("the refusal does not tell which container:\n%s", out)
	}
	if got := w.names("vm1"); !slices.Contains(got, "shop-web-more-v2") {
		t.Errorf("vm1 has %v, want the other service's container by its name", got)
	}
	w.serves("v2")
}
