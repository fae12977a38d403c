package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// TestExitCodes_SayWhoServes makes each kind of failure happen and compares who
// serves then with what the exit code and the output promise.
func TestExitCodes_SayWhoServes(t *testing.T) {
	t.Parallel()
	one := []string{"deploy"}
	stagesOf := func(names ...string) []string { return names }
	for name, c := range map[string]struct {
		fails   func(*world)
		run     []string // Stages after `push`, or deploy.
		code    exit.Code
		serving string // In the output.
		serves  string
	}{
		"hook before the release": {func(w *world) { w.hook("pre-deploy", "exit 3") }, one, exit.Failed, "users get v1 on vm1, vm2", "v1"},
		"hook before the command": {func(w *world) { w.hook("pre-command", "exit 3") }, one, exit.Failed, "", "v1"},
		"container that ends": {func(w *world) {
			three := 3
			w.behave("v2", hosttest.Behaviour{Exit: &three})
		}, one, exit.BarrierClosed, "users get v1 on vm1, vm2", "v1"},
		"sick container, stage by stage": {func(w *world) { w.behave("v2", hosttest.Behaviour{Handler: sick}) },
			stagesOf("assets", "env-push", "boot", "barrier-wait"), exit.BarrierClosed, "users get v1 on vm1, vm2", "v1"},
		"hook before the cutover": {func(w *world) { w.hook("pre-cutover", "exit 3") },
			stagesOf("assets", "env-push", "boot", "barrier-wait", "cutover"), exit.Failed, "users get v1 on vm1, vm2", "v1"},
		"hook after the cutover": {func(w *world) { w.hook("post-cutover", "exit 3") },
			stagesOf("assets", "env-push", "boot", "barrier-wait", "cutover"), exit.Partial, "users get v2 on vm1, vm2", "v2"},
		"task after the cutover": {func(w *world) { w.task("report", "exit 3", ", run: after-cutover") }, one, exit.Partial, "users get v2 on vm1, vm2", "v2"},
		"hook before prune": {func(w *world) { w.hook("pre-prune", "exit 3") },
			stagesOf("assets", "env-push", "boot", "barrier-wait", "cutover", "prune"), exit.Partial, "users get v2 on vm1, vm2", "v2"},
		"prune": {func(w *world) {
			w.refuse = func(op host.Op) error {
				if op.Host == "vm2" && op.Name == "POST /images/prune" {
					return exit.Errorf(exit.Failed, "input/output error")
				}
				return nil
			}
		}, one, exit.Partial, "users get v2 on vm1, vm2", "v2"},
		"hook after the release": {func(w *world) { w.hook("post-deploy", "exit 3") }, one, exit.Partial, "users get v2 on vm1, vm2", "v2"},
		"hook after the command": {func(w *world) { w.hook("post-command", "exit 3") }, one, exit.Partial, "users get v2 on vm1, vm2", "v2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			if c.run[0] != "deploy" {
				w.exits(exit.OK, "push", "--image", w.image("v2"), "--version", "v2")
			}
			c.fails(w)
			args := w.deployArgs("v2")
			for i, stage := range c.run {
				if stage != "deploy" {
					args = []string{stage}
				}
				if i < len(c.run)-1 {
					w.exits(exit.OK, args...)
				}
			}
			_, stderr := w.exits(c.code, args...)
			w.serves(c.serves)
			if c.serving == "" && strings.Contains(stderr, "users get") || !strings.Contains(stderr, c.serving+"\n") && c.serving != "" {
				t.Errorf("the output does not have %q:\n%s", c.serving, stderr)
			}
			if c.serving != "" && strings.Index(stderr, c.serving) > strings.LastIndex(stderr, "error: ") {
				t.Errorf("who serves comes after the error:\n%s", stderr)
			}
		})
	}
}

// TestExitCodes_OfRollbacksSayWhoServes: going back is a release like any other.
func TestExitCodes_OfRollbacksSayWhoServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.deploy("v2")
	w.hook("post-deploy", "exit 3")
	_, stderr := w.exits(exit.Partial, "rollback")
	w.serves("v1")
	if !strings.Contains(stderr, "users get v1 on vm1, vm2\n") {
		t.Errorf("it does not say who serves:\n%s", stderr)
	}
}

func TestServing_NamesWhatIsUnknownAndWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replace("web: [vm1, vm2]", "web: [vm1]\n  api: {hosts: [vm2], proxy: true}")
	w.deploy("v1")
	w.by("vm2", "shop-api-v1").crash()
	w.hook("post-boot", "exit 3")
	_, stderr := w.exits(exit.Failed, w.deployArgs("v2")...)
	if want := "users get v1 from web on vm1; no answer (v1 does not run) from api on vm2\n"; !strings.Contains(stderr, want) {
		t.Errorf("the output does not have %q:\n%s", want, stderr)
	}
	w.exits(exit.OK, "abort")
	ran := filepath.Join(w.dir, "ran")
	w.hook("post-boot", "touch "+ran+"; exit 3")
	w.refuse = func(op host.Op) error {
		if _, err := os.Stat(ran); err == nil && op.Host == "vm1" {
			return exit.Errorf(exit.Failed, "permission denied")
		}
		return nil
	}
	_, stderr = w.exits(exit.Failed, w.deployArgs("v3")...)
	if !strings.Contains(stderr, "unknown from web on vm1") {
		t.Errorf("a host that cannot be read is not unknown:\n%s", stderr)
	}
}

func TestServing_IsSaidAlsoOfAnInterruptedDeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	args := w.deployArgs("v2")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.refuse = func(op host.Op) error {
		if strings.HasSuffix(op.Name, "/start") {
			cancel(exit.Errorf(exit.Interrupted, "interrupted"))
		}
		return nil
	}
	code, _, stderr := w.kstepIn(ctx, args...)
	if code != exit.Interrupted || !strings.Contains(stderr, "users get v1 on vm1, vm2\n") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}
