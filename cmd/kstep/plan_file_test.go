package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// planTo makes a plan file of a ready image.
func (w *world) planTo(version string, more ...string) string {
	w.t.Helper()
	file := filepath.Join(w.dir, "plan-"+version+".json")
	w.exits(exit.OK, append([]string{"plan", "--image", w.image(version), "--version", version, "--out", file}, more...)...)
	return file
}

func TestPlanFile_IsCarriedOutByADeploy(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			first := w.planTo("v1")
			w.exits(exit.OK, "deploy", "--plan", first)
			w.serves("v1")
			second := w.planTo("v2")
			w.exits(exit.OK, "deploy", "--plan", second)
			w.serves("v2")
			if release := w.state("prune")["release"]; !strings.Contains(w.read(second), release.(string)) {
				t.Errorf("release %s was deployed, which is not the planned one", release)
			}
			w.exits(exit.OK, "deploy", "--plan", second) // Run again: it is as the plan makes it.
			w.exits(exit.BadState, "deploy", "--plan", first)
		})
	}
}

func (w *world) read(file string) string {
	w.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

func TestPlanFile_IsCarriedOutStageByStage(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for name, version := range map[string]string{"a new version": "v3", "back to an old one": "v1"} {
			t.Run(name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.configure(extra)
				w.append("retain: 2\nenv: {clear: {LEVEL: low}}\n")
				w.deploy("v1")
				w.deploy("v2")
				w.replace("LEVEL: low", "LEVEL: high")
				plan := w.planTo(version, "--new-release")
				for _, stage := range afterBuild() {
					for range 2 { // What a stage did itself is no move, when it is run again.
						w.exits(exit.OK, stage, "--plan", plan)
					}
				}
				w.serves(version)
			})
		}
	}
}

// TestPlanFile_IsCarriedOutByShardsThatPruneOneHost: what a shard removes on a
// host that it shares is foreseen for all.
func TestPlanFile_IsCarriedOutByShardsThatPruneOneHost(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.share()
			w.configure(extra)
			w.append("retain: 1\n")
			w.deploy("v0") // What prune removes.
			w.deploy("v1")
			plan := w.planTo("v2")
			w.exits(exit.OK, "push", "--plan", plan)
			for _, stage := range afterBuild()[1:] {
				done := false
				for _, role := range []string{"job", "web", "job", "job"} { // The last one run again.
					if role == "job" && !done && (stage == "barrier-wait" || stage == "cutover") {
						continue // It waits for the other.
					}
					w.exits(exit.OK, stage, "--roles", role, "--plan", plan)
					done = true
				}
			}
			w.serves("v2")
			for _, host := range []string{"vm1", "vm2", "vm3"} {
				if got := w.versions(host); slices.ContainsFunc(got, func(v string) bool { return strings.HasSuffix(v, "v1") }) {
					t.Errorf("%s keeps %v, want v2 alone", host, got)
				}
			}
		})
	}
}

// untouched runs a command that is refused, and expects that it changed nothing
// but what keeps releases apart.
func (w *world) untouched(want exit.Code, args ...string) string {
	w.t.Helper()
	before := w.pictureOfWork()
	_, stderr := w.exits(want, args...)
	if diff := cmp.Diff(before, w.pictureOfWork()); diff != "" {
		w.t.Errorf("kstep %s changed:\n%s", strings.Join(args, " "), diff)
	}
	if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.Contains(stdout, "free") {
		w.t.Errorf("the lease is not free after it:\n%s", stdout)
	}
	return stderr
}

// pictureOfWork is picture without the leases.
func (w *world) pictureOfWork() map[string]string {
	seen := w.picture()
	maps.DeleteFunc(seen, func(path, _ string) bool { return strings.Contains(path, "/lease/") })
	return seen
}

func TestPlanFile_IsRefusedWhenAHostHasMoved(t *testing.T) {
	t.Parallel()
	byHand := func(do func(w *world, vm1 *engine.Client) error) func(*world) {
		return func(w *world) {
			if err := do(w, w.hosts["vm1"].Look()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		move  func(*world)
		shown string
	}{
		"somebody deployed another version": {func(w *world) { w.deploy("v9") }, "(version v9) has been there"},
		"somebody went back":                {func(w *world) { w.exits(exit.OK, "rollback", "v0") }, "(version v0) has been there"},
		"somebody pushed an environment": {func(w *world) {
			w.env["TOKEN"] = "other"
			w.exits(exit.OK, "env", "push", "--hosts", "vm1")
			w.env["TOKEN"] = "hush-hush"
		}, "it has another env file"},
		"somebody stopped the container": {byHand(func(w *world, vm1 *engine.Client) error {
			return vm1.Stop(w.t.Context(), "shop-web-v1", engine.Stop{})
		}), "is shop-web-v1, stopped, was shop-web-v1, running"},
		"somebody removed what could be gone back to": {byHand(func(w *world, vm1 *engine.Client) error {
			return vm1.Remove(w.t.Context(), "shop-web-v0")
		}), "is gone: shop-web-v0"},
		"somebody renamed the container": {byHand(func(w *world, vm1 *engine.Client) error {
			return vm1.Rename(w.t.Context(), "shop-web-v1", "mine")
		}), "is gone: shop-web-v1, running"},
		"somebody moved the traffic": {byHand(func(w *world, _ *engine.Client) error {
			routes, err := filepath.Glob(filepath.Join(w.hosts["vm1"].Home, ".kstep/proxy/routes/shop-*.yml"))
			if err != nil || len(routes) != 1 {
				return fmt.Errorf("routes %v, %w", routes, err)
			}
			return os.Remove(routes[0])
		}), "traffic goes to no container, went to version v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env["TOKEN"] = "hush-hush"
			w.append("retain: 5\nenv: {secret: [TOKEN]}\n")
			w.deploy("v0")
			w.deploy("v1")
			other := w.elsewhere() // A runner of its own.
			plan := w.planTo("v2")
			c.move(other)
			for _, args := range [][]string{{"deploy", "--plan", plan}, {"assets", "--plan", plan}} {
				if args[0] != "deploy" {
					w.exits(exit.OK, "push", "--plan", plan) // It touches no hosts.
				}
				stderr := w.untouched(exit.BadState, args...)
				if !strings.Contains(stderr, "vm1 has changed since the plan was created") || !strings.Contains(stderr, c.shown) {
					t.Errorf("kstep %s does not report that vm1 has changed, by %q:\n%s", args[0], c.shown, stderr)
				}
			}
		})
	}
}

// elsewhere is the same service on another runner, with the same state.
func (w *world) elsewhere() *world {
	w.t.Helper()
	o := &world{t: w.t, dir: w.t.TempDir(), ssh: w.ssh, hosts: w.hosts, registry: w.registry, env: maps.Clone(w.env)}
	if err := os.CopyFS(o.dir, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func TestPlanFile_IsRefusedWhereItDoesNotBelong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	plan := w.planTo("v2")
	spoil := func(change func(string) string) func() []string {
		return func() []string {
			file := filepath.Join(t.TempDir(), "plan.json")
			if err := os.WriteFile(file, []byte(change(w.read(plan))), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--plan", file}
		}
	}
	other := w.elsewhere()
	other.replace("service: shop", "service: blog")
	changed := w.elsewhere()
	changed.append("retain: 3\n")
	for name, c := range map[string]struct {
		w     *world
		args  func() []string
		code  exit.Code
		shown string
	}{
		"no such file":      {w, func() []string { return []string{"--plan", filepath.Join(w.dir, "nowhere.json")} }, exit.MissingState, "nowhere.json is missing"},
		"a folder":          {w, func() []string { return []string{"--plan", w.dir} }, exit.BadState, "is a folder"},
		"a state file":      {w, func() []string { return []string{"--plan", filepath.Join(w.dir, "kstep-state", "boot.json")} }, exit.BadState, "is a state file, not a plan"},
		"an empty file":     {w, spoil(func(string) string { return "" }), exit.BadState, "is empty"},
		"a file cut off":    {w, spoil(func(s string) string { return s[:len(s)/2] }), exit.BadState, "ends in the middle"},
		"another tool's":    {w, spoil(func(string) string { return `{"terraform_version": "1", "resource_changes": []}` }), exit.BadState, "Terraform plan"},
		"a newer format":    {w, spoil(func(s string) string { return strings.Replace(s, "kstep/v1", "kstep/v2", 1) }), exit.BadState, "newer format"},
		"not of the schema": {w, spoil(func(s string) string { return strings.Replace(s, `"version": "v2"`, `"version": 2`, 1) }), exit.BadState, "/version"},
		"edited":            {w, spoil(func(s string) string { return strings.Replace(s, `"version": "v2"`, `"version": "v3"`, 1) }), exit.BadState, "was changed after kstep wrote it"},
		"another service":   {other, func() []string { return []string{"--plan", plan} }, exit.BadState, "the plan is for shop, not for blog"},
		"another config":    {changed, func() []string { return []string{"--plan", plan} }, exit.BadState, "configuration has changed"},
		"another version":   {w, func() []string { return []string{"--plan", plan, "--version", "v3"} }, exit.BadState, "version v2, not for v3"},
		"another image":     {w, func() []string { return []string{"--plan", plan, "--image", "x/y:v2"} }, exit.BadState, "not for x/y:v2"},
		"fewer targets": {w, func() []string {
			file := w.planTo("v2", "--roles", "web")
			return []string{"--plan", file}
		}, exit.BadState, "the plan does not cover job@vm3"},
	} {
		t.Run(name, func(t *testing.T) {
			stderr := c.w.untouched(c.code, append([]string{"deploy"}, c.args()...)...)
			if !strings.Contains(stderr, c.shown) || strings.Count(stderr, "error:") != 1 {
				t.Errorf("got\n%s\nwant one error with %q", stderr, c.shown)
			}
		})
	}
}

func TestPlan_ReadsHostsAndWritesNothingThere(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			check := func(version string) {
				t.Helper()
				w.operations()
				w.planned("--image", w.image(version), "--version", version)
				for _, op := range w.operations() {
					read := op.Kind == "connect" || op.Kind == "dial" ||
						(op.Kind == "engine" && (strings.HasPrefix(op.Name, "GET ") || strings.HasPrefix(op.Name, "HEAD "))) ||
						(op.Kind == "sftp" && slices.Contains([]string{"read", "list", "stat", "home", "owners"}, op.Name)) ||
						(op.Kind == "run" && op.Name == "find") // TestPlan_TellsWhatADeployThenDoes covers what it does.
					if !read {
						t.Errorf("plan asks %s for %s %s %s", op.Host, op.Kind, op.Name, op.Path)
					}
				}
			}
			check("v1")
			w.deploy("v1")
			check("v2")
		})
	}
}

func TestPlan_ShowsTheHostsThatAnswerAndWritesNoFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.hosts["vm2"].Engine.SetDown(true)
	file := filepath.Join(w.dir, "plan.json")
	stdout, _ := w.exits(exit.Unreachable, "plan", "--image", w.image("v2"), "--version", "v2", "--detailed-exitcode", "--out", file)
	for _, want := range []string{"web on vm1", "job on vm3", "vm2         ! reach engine"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got\n%s\nwant %q in it", stdout, want)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a plan that misses a host was written")
	}
}

func TestPlan_TellsNamesOfVariablesAndWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["TOKEN"], w.env["OTHER"] = "hush-hush", "other-secret"
	w.append("env: {clear: {STAYS: '1', GOES: '1', LEVEL: low}, secret: [TOKEN, OTHER]}\n")
	w.deploy("v1")
	args := []string{"--image", w.registry.Host() + "/acme/shop:v1", "--version", "v1"}

	delete(w.env, "TOKEN")
	if p := w.planned(args...); p.Changes > 0 {
		t.Errorf("a secret that is not there counts as a change:\n%s", planText(p, false))
	}
	w.replace("GOES: '1', LEVEL: low", "LEVEL: high, NEW: '1'")
	w.env["OTHER"] = "changed-secret"
	p := w.planned(args...)
	text := planText(p, false)
	for _, want := range []string{"~ write env file", "  ~ LEVEL", "  + NEW", "  - GOES", "  ~ OTHER", "? the value of TOKEN: not available here"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"hush-hush", "other-secret", "changed-secret", "high"} {
		if strings.Contains(string(data), never) {
			t.Errorf("the plan holds the value %q", never)
		}
	}
}

func TestPlan_TakesStateFromTheHostsAndLeavesTheFolderAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.pushed("v2", "--state-from", "hosts")
	w.exits(exit.OK, "assets", "--state-from", "hosts")
	w.forget()
	p := w.planned("--state-from", "hosts")
	if !p.Begun || p.Version != "v2" || p.Changes == 0 {
		t.Errorf("got a plan of %q (begun: %t), want v2, which the hosts know", p.Version, p.Begun)
	}
	if p.Lease == nil || !p.Lease.Own {
		t.Errorf("got lease %+v, want the release's own", p.Lease)
	}
	other := w.planned("--image", w.image("v3"), "--version", "v3")
	if other.Lease == nil || other.Lease.Own || !strings.Contains(planText(other, false), "lease: held by release "+p.Release) {
		t.Errorf("got lease %+v, want that of %s", other.Lease, p.Release)
	}
}

func TestPlan_ClaimsNoReplacementThatDependsOnTheBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("Dockerfile", "FROM scratch\n")
	w.append("builder: {context: .}\n")
	w.deploy("v1")
	if err := os.RemoveAll(filepath.Join(w.dir, "kstep-state")); err != nil {
		t.Fatal(err)
	}
	p := w.planned("--version", "v1")
	text := planText(p, false)
	if p.Changes != 2 || !strings.Contains(text, "2 changes on 0 hosts") {
		t.Errorf("got %d changes, want only that it is built and pushed:\n%s", p.Changes, text)
	}
	for _, want := range []string{"+ build ", "+ push ", "? create shop-web-v1 (depends on the build)", "? move traffic to shop-web-v1 (depends on the build)"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q in it", text, want)
		}
	}
	// A new environment replaces the containers whatever is built.
	w.append("env: {clear: {LEVEL: high}}\n")
	if text := planText(w.planned("--version", "v1"), false); !strings.Contains(text, "+ create shop-web-v1\n") || strings.Contains(text, "shop-web-v1 (depends") {
		t.Errorf("got\n%s\nwant the new containers shown", text)
	}
	// And so is a version that no host has.
	if text := planText(w.planned("--version", "v2"), false); strings.Contains(text, "depends on the build") {
		t.Errorf("got\n%s\nwant all of it shown", text)
	}
}
