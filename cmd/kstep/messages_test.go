package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestMessages_AnImageForAnotherProcessorIsRefusedBeforeItIsPulled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	image := w.image("v1")
	w.hosts["vm2"].Engine.SetArchitecture("riscv64")
	for range 2 { // The second time must not find it pulled and go on.
		_, stderr := w.exits(exit.Failed, "deploy", "--image", image, "--version", "v1")
		for _, want := range []string{"image is linux/amd64, host vm2 is linux/riscv64 (riscv64)", "builder.platforms: [linux/riscv64]"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("no %q in\n%s", want, stderr)
			}
		}
	}
	w.refuses(exit.Failed, "image is linux/amd64, host vm2 is linux/riscv64", "plan", "--image", image, "--version", "v1")
	if got := w.names("vm2"); len(got) != 0 {
		t.Errorf("vm2 has %v", got)
	}
}

func TestMessages_AFirstDeployThatFailsHasNoOldVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["GITHUB_ACTIONS"] = "true"
	w.behave("v1", hosttest.Behaviour{Exit: new(1)})
	_, stderr := w.exits(exit.BarrierClosed, "deploy", "--image", w.image("v1"), "--version", "v1")
	if strings.Contains(stderr, "old version") || !strings.Contains(stderr, "this is the first version, so nothing serves yet") {
		t.Errorf("it says\n%s", stderr)
	}
	if !strings.Contains(stderr, "title=barrier-wait of web on vm1::") {
		t.Errorf("the annotation does not name the stage:\n%s", stderr)
	}
	w.deploy("v2")
	w.behave("v3", hosttest.Behaviour{Exit: new(1)})
	_, stderr = w.exits(exit.BarrierClosed, "deploy", "--image", w.image("v3"), "--version", "v3")
	if !strings.Contains(stderr, "the old version keeps serving; correct the cause, and run the same command again") {
		t.Errorf("it says\n%s", stderr)
	}
	w.serves("v2")
}

func TestMessages_AFolderThatIsNotThereIsNamedWithTheCommandThatMakesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("volumes: ['/srv/kstep-is-not-here:/data']\n")
	_, stderr := w.exits(exit.BarrierClosed, "deploy", "--image", w.image("v1"), "--version", "v1")
	if !strings.Contains(stderr, "make the folder on vm1: mkdir -p /srv/kstep-is-not-here (and chown it") {
		t.Errorf("it says\n%s", stderr)
	}
}
