package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kstep/kstep/internal/exit"
)

// moveTag makes the tag of a version name the image of another one.
func (w *world) moveTag(version, to string) {
	w.t.Helper()
	from, err := name.ParseReference(w.image(to), name.Insecure)
	if err != nil {
		w.t.Fatal(err)
	}
	image, err := remote.Image(from)
	if err != nil {
		w.t.Fatal(err)
	}
	tag, err := name.NewTag(w.registry.Host()+"/acme/shop:"+version, name.Insecure)
	if err == nil {
		err = remote.Tag(tag, image)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestPlan_MarksWhatReachesBeyondTheContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("  web: [vm1, vm2]\n", "  web:\n    hosts: [vm1, vm2]\n    volumes: [\"/srv/data:/data\"]\n    options: {privileged: true, cap-add: [SYS_PTRACE]}\n")
	stdout, _ := w.exits(exit.OK, "plan", "--image", w.image("v1"), "--version", "v1")
	for _, want := range []string{"! privileged: it has all rights on the host", "! gets the capability SYS_PTRACE", "! reads and writes /srv/data of the host"} {
		if strings.Count(stdout, want) != 1 {
			t.Errorf("the plan does not say %q once:\n%s", want, stdout)
		}
	}
}

func TestPlan_ShowsWhatATaskRunsAndReaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("    hosts: [vm3]\n", "    hosts: [vm3]\n    volumes: [\"backups:/backups\"]\n    options: {group-add: [docker]}\n")
	w.append("tasks:\n  migrate: {cmd: [rake, \"db:migrate\"], role: job}\n")
	stdout, _ := w.exits(exit.OK, "plan", "--image", w.image("v1"), "--version", "v1")
	for want, count := range map[string]int{
		"runs rake db:migrate": 1, "! is in the group docker": 2, "! reads and writes the volume backups": 2, // Of the task, and of the role.
	} {
		if strings.Count(stdout, want) != count {
			t.Errorf("the plan does not say %q %d times:\n%s", want, count, stdout)
		}
	}
}

// What was approved is an image, not a name that can move to another one.
func TestPlanFile_IsRefusedForAnotherImageOfTheSameTag(t *testing.T) {
	t.Parallel()
	for title, refused := range map[string]func(w *world, plan string) string{
		"in one process": func(w *world, plan string) string {
			return w.untouched(exit.BadState, "deploy", "--plan", plan)
		},
		"by push": func(w *world, plan string) string {
			return w.untouched(exit.BadState, "push", "--plan", plan)
		},
		"by a later stage, after a push without the plan": func(w *world, plan string) string {
			w.exits(exit.OK, "push", "--plan", plan) // Of the approved image.
			w.moveTag("v2", "v3")
			w.exits(exit.OK, "push", "--new-release", "--image", w.registry.Host()+"/acme/shop:v2", "--version", "v2")
			return w.untouched(exit.BadState, "assets", "--plan", plan, "--adopt")
		},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.forget()
			plan := w.planTo("v2")
			if !strings.HasPrefix(title, "by a later") {
				w.moveTag("v2", "v3")
			}
			if stderr := refused(w, plan); !strings.Contains(stderr, "plan") {
				t.Errorf("it says\n%s", stderr)
			}
			w.serves("v1")
		})
	}
}

// An artifact can be replaced, a job's output cannot: the digest says which plan
// was approved.
func TestPlanFile_OfAnotherDigestThanTheApprovedOneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.forget()
	w.env["GITHUB_ACTIONS"], w.env["GITHUB_OUTPUT"] = "true", w.dir+"/outputs"
	w.write("outputs", "")
	approved := w.planTo("v2")
	var file struct{ Sum string }
	if err := json.Unmarshal([]byte(w.read(approved)), &file); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^plan-digest<<.*\n` + file.Sum + `$`).MatchString(w.read(w.dir + "/outputs")) {
		t.Errorf("the outputs are\n%s", w.read(w.dir+"/outputs"))
	}
	another := w.planTo("v3")
	for name, args := range map[string][]string{
		"another plan":             {"deploy", "--plan", another, "--plan-digest", file.Sum},
		"another plan, in a stage": {"push", "--plan", another, "--plan-digest", file.Sum},
		"no digest of a plan":      {"deploy", "--plan", approved, "--plan-digest", "sha256:1234"},
	} {
		if stderr := w.untouched(exit.BadState, args...); !strings.Contains(stderr, "was approved") {
			t.Errorf("%s: it says\n%s", name, stderr)
		}
	}
	w.refuses(exit.Usage, "name the plan file", "deploy", "--plan-digest", file.Sum)
	w.serves("v1")
	w.exits(exit.OK, "deploy", "--plan", approved, "--plan-digest", file.Sum)
	w.serves("v2")
}

func TestPlanFile_WithoutItsDigestIsRefusedInACIJob(t *testing.T) {
	t.Parallel()
	for ci, variable := range map[string]string{"GitHub": "GITHUB_ACTIONS", "GitLab": "GITLAB_CI"} {
		t.Run(ci, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			plan := w.planTo("v2")
			var file struct{ Sum string }
			if err := json.Unmarshal([]byte(w.read(plan)), &file); err != nil {
				t.Fatal(err)
			}
			w.env[variable] = "true"
			if stderr := w.untouched(exit.Usage, "deploy", "--plan", plan); !strings.Contains(stderr, "--plan-digest") {
				t.Errorf("the refusal does not name the flag:\n%s", stderr)
			}
			w.exits(exit.OK, "deploy", "--plan", plan, "--plan-digest", file.Sum)
		})
	}
}

// The jobs of the examples: a push, a plan elsewhere of the image that it names, and
// a deploy of the plan at a third place, which builds nothing. GitLab gives the plan
// the state file of push, too.
func TestPlanFile_OfAPushedImageIsCarriedOutElsewhere(t *testing.T) {
	t.Parallel()
	for name, withState := range map[string]bool{"GitHub": false, "GitLab": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.forget()
			w.env["GITHUB_ACTIONS"], w.env["GITHUB_OUTPUT"] = "true", w.dir+"/outputs"
			w.exits(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
			image := ciOutputs(t, w.dir+"/outputs")["image"]
			w.moveTag("v2", "v3") // What the tag names does not count any more.
			planner := w.elsewhere()
			if !withState {
				planner.forget()
			}
			planner.env["GITHUB_OUTPUT"] = planner.dir + "/planned"
			plan := planner.dir + "/plan.json"
			planner.exits(exit.OK, "plan", "--image", image, "--version", "v2", "--out", plan)
			var file struct{ Image, Digest string }
			if err := json.Unmarshal([]byte(w.read(plan)), &file); err != nil || file.Image != image || !strings.HasSuffix(image, "@"+file.Digest) {
				t.Errorf("%v: the plan has the image %q and the digest %q, want %q", err, file.Image, file.Digest, image)
			}
			deployer := w.elsewhere()
			deployer.forget()
			deployer.exits(exit.OK, "deploy", "--plan", plan, "--plan-digest", ciOutputs(t, planner.dir+"/planned")["plan-digest"])
			deployer.serves("v2")
			if push := deployer.state("push"); !strings.Contains(fmt.Sprint(push), file.Digest) {
				t.Errorf("another image was deployed: %v, want %s", push, file.Digest)
			}
		})
	}
}
