package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// planned is what `kstep plan` shows. It expects exit code 2 or 0, as something
// is pending or not, and that neither hosts nor state folder change.
func (w *world) planned(args ...string) state.Plan {
	w.t.Helper()
	before := w.picture()
	files := w.stateFiles()
	code, stdout, stderr := w.kstep(append([]string{"plan", "--output", "json", "--detailed-exitcode"}, args...)...)
	p := planIn(w.t, stdout)
	want := exit.OK
	if p.Changes > 0 {
		want = exit.ChangesPending
	}
	if code != want {
		w.t.Fatalf("kstep plan: exit code %d, want %d\n%s%s", code, want, stdout, stderr)
	}
	if diff := cmp.Diff(before, w.picture()); diff != "" {
		w.t.Errorf("plan changed the hosts:\n%s", diff)
	}
	if diff := cmp.Diff(files, w.stateFiles()); diff != "" {
		w.t.Errorf("plan changed the state folder:\n%s", diff)
	}
	return p
}

func planIn(t *testing.T, stdout string) state.Plan {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var p state.Plan
		if json.Unmarshal([]byte(line), &p) == nil && p.Kind == state.PlanKind {
			return p
		}
	}
	t.Fatalf("no plan in\n%s", stdout)
	return state.Plan{}
}

func (w *world) stateFiles() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	dir := filepath.Join(w.dir, "kstep-state")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			w.t.Fatal(err)
		}
		found[e.Name()] = string(data)
	}
	return found
}

// foretold are a stage's planned changes by target, in the words of the run;
// what concerns a whole host counts for each of its targets.
func foretold(p state.Plan, stage string, targets []state.Target) map[string][]string {
	found := map[string][]string{}
	for _, s := range p.Stages {
		for _, t := range s.Targets {
			for _, c := range t.Changes {
				for _, own := range targets {
					if s.Stage == stage && own.Host == t.Host && (t.Role == "" || t.Role == own.Role) {
						key := state.Key(own.Role, own.Host)
						found[key] = append(found[key], c.Done)
					}
				}
			}
		}
	}
	return found
}

// agrees compares a plan with what the stages did after it.
func (w *world) agrees(p state.Plan, names ...string) {
	w.t.Helper()
	for _, stage := range names {
		data, err := os.ReadFile(filepath.Join(w.dir, "kstep-state", stage+".json"))
		if err != nil {
			w.t.Fatal(err)
		}
		var file state.File
		if err := json.Unmarshal(data, &file); err != nil {
			w.t.Fatal(err)
		}
		if file.Release != p.Release && p.Begun {
			w.t.Errorf("%s was of release %s, the plan of %s", stage, file.Release, p.Release)
		}
		did := map[string][]string{}
		for _, t := range file.Targets {
			if len(t.Changed) > 0 {
				did[state.Key(t.Role, t.Host)] = t.Changed
			}
		}
		if diff := cmp.Diff(did, foretold(p, stage, file.Targets), cmpopts.EquateEmpty()); diff != "" {
			w.t.Errorf("%s did (-) other things than the plan told (+):\n%s", stage, diff)
		}
		pending := slices.ContainsFunc(p.Stages, func(s state.PlannedStage) bool {
			return s.Stage == stage && slices.ContainsFunc(s.Targets, func(t state.PlannedTarget) bool { return len(t.Changes) > 0 })
		})
		if pending != (file.Status == state.OK) {
			w.t.Errorf("%s ended %s; the plan told of changes: %t", stage, file.Status, pending)
		}
	}
}

// ready is the chain behind build.
func afterBuild() []string { return stageNames()[1:] }

// halfWritten is what a run that was killed a while ago leaves on a host.
func (w *world) halfWritten(hostName, file string, age time.Duration) {
	w.t.Helper()
	file = filepath.Join(w.hosts[hostName].Home, file)
	if err := os.WriteFile(file, []byte("hal"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	then := time.Now().Add(-age)
	if err := os.Chtimes(file, then, then); err != nil {
		w.t.Fatal(err)
	}
}

func TestPlan_TellsWhatADeployThenDoes(t *testing.T) {
	t.Parallel()
	secondAs := func(extra string) func(*world) []string {
		return func(w *world) []string {
			w.deploy("v1")
			if extra != "" {
				w.append(extra)
			}
			return []string{"--image", w.image("v2"), "--version", "v2"}
		}
	}
	again := func(change func(*world)) func(*world) []string {
		return func(w *world) []string {
			w.deploy("v1")
			change(w)
			return []string{"--image", w.registry.Host() + "/acme/shop:v1", "--version", "v1"}
		}
	}
	for name, prepare := range map[string]func(*world) []string{
		"nothing was deployed": func(w *world) []string { return []string{"--image", w.image("v1"), "--version", "v1"} },
		"a second version":     secondAs(""),
		"a version that nothing is kept of": func(w *world) []string {
			w.deploy("v0")
			return secondAs("retain: 1\n")(w)
		},
		"all is done":                  again(func(*world) {}),
		"only the environment changed": again(func(w *world) { w.append("env: {clear: {LEVEL: high}}\n") }),
		"only a command changed":       again(func(w *world) { w.replace("work hard", "work harder") }),
		"a role left a host": again(func(w *world) {
			w.replace("  job:\n    hosts: [vm3]", "  cron:\n    hosts: [vm3]")
		}),
		"the primary role was renamed": func(w *world) []string {
			w.deploy("v1")
			w.renamed("zweb")
			return []string{"--image", w.image("v2"), "--version", "v2"}
		},
		"the primary role was renamed in the same version": again(func(w *world) { w.renamed("zweb") }),
		"the primary role was taken off a host": func(w *world) []string {
			w.replace("hosts: [vm3]", "hosts: [vm2, vm3]")
			w.deploy("v1")
			w.replace("web: [vm1, vm2]", "web: [vm1]")
			return []string{"--image", w.image("v2"), "--version", "v2"}
		},
		"a role was renamed, and stays with a warning": func(w *world) []string {
			w.deploy("v1")
			w.append("orphans: warn\n")
			w.renamed("zweb")
			return []string{"--image", w.image("v2"), "--version", "v2"}
		},
		"tasks": func(w *world) []string {
			w.task("migrate", "true", "")
			w.task("clean", "true", ", run: after-cutover")
			return secondAs("")(w)
		},
		"a release that goes back": func(w *world) []string {
			w.deploy("v1")
			w.deploy("v2")
			return []string{"--image", w.registry.Host() + "/acme/shop:v1", "--version", "v1", "--new-release"}
		},
		"a file that was left half written": again(func(w *world) {
			w.halfWritten("vm2", ".kstep/shop/env/.web.json.kstep-abcdefghij.tmp", time.Hour)
			w.halfWritten("vm1", ".kstep/proxy/.shop-web.yml.kstep-abcdefghij.tmp", time.Hour)
			w.halfWritten("vm3", ".kstep/shop/.young.kstep-abcdefghij.tmp", 0) // Another process may be writing it.
		}),
		"somebody stopped what serves": again(func(w *world) {
			if err := w.hosts["vm1"].Look().Stop(w.t.Context(), "shop-web-v1", engine.Stop{}); err != nil {
				w.t.Fatal(err)
			}
		}),
	} {
		for kind, extra := range switches() {
			t.Run(name+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.configure(extra)
				args := prepare(w)
				p := w.planned(args...)
				if (p.Changes == 0) != (name == "all is done") {
					t.Errorf("got %d changes:\n%s", p.Changes, planText(p, false))
				}
				w.exits(exit.OK, append([]string{"deploy"}, args...)...)
				w.agrees(p, afterBuild()...)
				args = slices.DeleteFunc(args, func(a string) bool { return a == "--new-release" })
				if after := w.planned(args...); after.Changes > 0 {
					t.Errorf("after the deploy:\n%s", planText(after, false))
				}
			})
		}
	}
}

func TestPlan_TellsWhatIsLeftAfterEachStage(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for i, last := range afterBuild() {
			t.Run(last+" by "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.configure(extra)
				w.deploy("v1")
				w.pushed("v2")
				for _, stage := range afterBuild()[1 : i+1] {
					w.exits(exit.OK, stage)
				}
				rest := afterBuild()[i+1:]
				p := w.planned("--version", "v2")
				if !p.Begun || p.Version != "v2" {
					t.Fatalf("got a plan of %s (begun: %t), want the release in the state folder", p.Version, p.Begun)
				}
				for _, s := range p.Stages {
					if len(s.Targets) > 0 && !slices.Contains(rest, s.Stage) {
						t.Errorf("%s is done, but the plan tells:\n%s", s.Stage, planText(p, false))
					}
				}
				for _, stage := range rest {
					w.exits(exit.OK, stage)
				}
				w.agrees(p, rest...)
			})
		}
	}
}

// append adds to kstep.yml.
func (w *world) append(text string) {
	w.t.Helper()
	w.replace("service: shop\n", "service: shop\n"+text)
}

func TestPlan_TellsWhatIsLeftWhereverADeployWasKilled(t *testing.T) {
	t.Parallel()
	for kind, extra := range switches() {
		for k := 20; k < 400; k += 110 {
			t.Run(fmt.Sprintf("at operation %d by %s", k, kind), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.replicas(extra, "2")
				w.append("retain: 1\n")
				w.deploy("v0")
				w.deploy("v1")
				w.replace("replicas: 2", "replicas: 3")
				args := []string{"--image", w.image("v2"), "--version", "v2"}
				w.killed(k, append([]string{"deploy"}, args...)...)
				w.exits(exit.OK, "lock", "release", "--force")
				p := w.planned(args...)
				w.exits(exit.OK, append([]string{"deploy"}, args...)...)
				w.agrees(p, afterBuild()...)
			})
		}
	}
}

// A container that lent its files to a run that was killed is replaced by the
// assets stage, so prune will not find it.
func TestPlan_TellsNothingOfAContainerThatAssetsReplaces(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(host.Op) bool{
		"before its files were copied": func(op host.Op) bool { return strings.HasSuffix(op.Name, "/archive") },
		"before it was removed": func(op host.Op) bool {
			return strings.HasPrefix(op.Name, "DELETE /containers") && op.Host == "vm2"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).withAssets()
			w.deploy("v1")
			w.pushed("v2")
			if !w.killedAt(last, "assets") {
				t.Fatal("the stage was not killed")
			}
			w.exits(exit.OK, "lock", "release", "--force")
			p := w.planned("--version", "v2")
			for _, stage := range afterBuild()[1:] {
				w.exits(exit.OK, stage)
			}
			w.agrees(p, afterBuild()[1:]...)
		})
	}
}

func TestPlan_TellsThatANewerReleaseHasBeenThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	other := w.elsewhere()
	w.pushed("v2")
	other.deploy("v3")
	stdout, stderr := w.exits(exit.BadState, "plan")
	if !strings.Contains(stdout, "(version v3) has been on vm1 since") || !strings.Contains(stdout, "? not known") {
		t.Errorf("got\n%s%s\nwant it to tell of v3 and no more", stdout, stderr)
	}
}

func TestPlan_ShowsTheLeaseAlsoOfAHostThatTheFiltersLeaveOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.exits(exit.OK, "lock", "acquire", "-m", "maintenance")
	p := w.planned("--roles", "job", "--image", w.image("v2"), "--version", "v2")
	if text := planText(p, false); !strings.Contains(text, "maintenance") || strings.Contains(text, "web on") {
		t.Errorf("got\n%s\nwant the lease and role job alone", text)
	}
}
