package main

import (
	"io"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestApp_IsStoppedAndStartedByHandAndTheNextDeployGoesOn(t *testing.T) {
	t.Parallel()
	for name, extra := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.configure(extra)
			w.deploy("v1")
			w.says("stopped shop-web-v1", "app", "stop", "--roles", "web")
			w.says("unchanged", "app", "stop", "--roles", "web")
			if status, _ := w.get("vm1"); status == 200 {
				t.Error("vm1 still serves")
			}
			w.says("exited  yes", "app", "details", "--roles", "web")
			w.refuses(exit.Failed, "shop-web-v1 on vm1 does not run: it is exited", "app", "exec", "--", "sh", "-c", "true")
			w.says("started shop-web-v1", "app", "start")
			w.says("unchanged", "app", "start")
			w.serves("v1")
			w.exits(exit.OK, "app", "stop")
			w.deploy("v2")
			w.serves("v2")
		})
	}
}

func TestApp_TellsItsVersionsAndContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuses(exit.Failed, "nothing is in service", "app", "version")
	w.deploy("v1")
	w.deploy("v2")
	if stdout, _ := w.exits(exit.OK, "app", "version"); stdout != "v2\n" {
		t.Errorf("the version is %q", stdout)
	}
	stdout, _ := w.exits(exit.OK, "app", "containers", "--roles", "job")
	for _, want := range []string{"vm3   job   shop-job-v2  v2       running", "vm3   job   shop-job-v1  v1       exited"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _ = w.exits(exit.OK, "app", "details", "--output", "json")
	if strings.Count(stdout, `"inService":true`) != 3 || strings.Contains(stdout, `"version":"v1"`) {
		t.Errorf("in service are %s", stdout)
	}
}

func TestApp_ShowsLogsAndRunsProgramsInWhatServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behave("v1", hosttest.Behaviour{Log: []string{"booting", "GET /"}})
	w.deploy("v1")
	stdout, _ := w.exits(exit.OK, "app", "logs", "--grep", "GET")
	for _, want := range []string{"[web@vm1] GET /\n", "[web@vm2] GET /\n", "[job@vm3] GET /\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _ = w.exits(exit.OK, "app", "exec", "--once", "--", "sh", "-c", "echo $KSTEP_ROLE on $KSTEP_HOST")
	if stdout != "web on vm1\n" {
		t.Errorf("once it printed %q", stdout)
	}
	stdout, stderr := w.exits(exit.Failed, "app", "exec", "--roles", "web", "--", "sh", "-c", "echo here; test $KSTEP_HOST = vm1")
	if !strings.Contains(stdout, "[vm1] here\n") || !strings.Contains(stdout, "[vm2] here\n") || !strings.Contains(stderr, "run sh in shop-web-v1 on vm2: exit status 1") || strings.Contains(stderr, "on vm1: exit") {
		t.Errorf("got\n%sand\n%s", stdout, stderr)
	}
}

func TestApp_ConnectsTheUserWithAProgramInOneContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["TOKEN"] = "very-secret-token"
	w.configure("env: {secret: [TOKEN]}\n")
	w.deploy("v1")
	w.stdin = strings.NewReader("DROP TABLE carts;\nvery-secret-token\n")
	stdout, _ := w.exits(exit.OK, "app", "exec", "-i", "--", "sh", "-c", "cat; echo in $KSTEP_ROLE on $KSTEP_HOST; echo done >&2")
	if want := "DROP TABLE carts;\n[REDACTED]\nin web on vm1\n"; stdout != want {
		t.Errorf("it printed %q, want %q", stdout, want)
	}
	// A program that ends first does not wait for the user.
	typed, _ := io.Pipe()
	defer typed.Close()
	w.stdin = typed
	w.refuses(exit.Failed, "run sh in shop-job-v1 on vm3: exit status 3", "app", "exec", "--interactive", "--roles", "job", "--", "sh", "-c", "exit 3")
	w.refuses(exit.Usage, "has no --output json", "app", "exec", "-i", "--output", "json", "--", "sh")
}

func TestApp_TellsItsImagesAndWhatRunsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.deploy("v2")
	stdout, _ := w.exits(exit.OK, "app", "images", "--hosts", "vm1")
	lines := strings.Split(stdout, "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "acme/shop:v2") || !strings.Contains(lines[2], "acme/shop:v1") || !strings.HasSuffix(lines[1], "web") {
		t.Errorf("the images are\n%s", stdout)
	}
	w.says(`"version":"v1"`, "app", "images", "--output", "json")

	// Booted, and not in service: first it is under way, then it was given up.
	w.stages("v3", "assets", "env-push", "boot")
	stale := func() string { stdout, _ := w.exits(exit.OK, "app", "stale-containers"); return stdout }
	if out := stale(); strings.Contains(out, "shop-") {
		t.Errorf("under way is\n%s", out)
	}
	w.refuses(exit.LeaseHeld, "the lease is held", "app", "stale-containers", "--stop")
	w.exits(exit.OK, "lock", "release", "--force")
	if out := stale(); strings.Count(out, "shop-web-v3") != 2 || strings.Contains(out, "v2") {
		t.Errorf("left behind is\n%s", out)
	}
	w.says("stopped shop-web-v3", "app", "stale-containers", "--stop")
	if out := stale(); strings.Contains(out, "shop-") {
		t.Errorf("after it was stopped there is\n%s", out)
	}
	w.serves("v2")
}
