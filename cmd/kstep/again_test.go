package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

func TestDeploy_AfterARollbackBeginsANewRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.deploy("v2")
	w.exits(exit.OK, "rollback")
	w.serves("v1")
	stdout, _ := w.exits(exit.OK, "plan", "--image", w.image("v2"), "--version", "v2")
	if !strings.Contains(stdout, "a new release") {
		t.Errorf("plan does not tell of a new release:\n%s", stdout)
	}
	w.deploy("v2")
	w.serves("v2")
	w.exits(exit.OK, "rollback")
	w.serves("v1")
	w.deploy("v1") // The very version that the rollback went to.
	w.serves("v1")
	w.exits(exit.OK, "status")
}

func TestDeploy_OfAVersionThatOthersHaveReplacedSinceBeginsANewRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	other := w.job()
	other.must(exit.OK, "deploy", "--image", w.image("v2"), "--version", "v2")
	w.deploy("v1")
	w.serves("v1")
}

func TestDeploy_ThatALeaseRefusesChangesNoStateFile(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"deploy", "redeploy", "rollback"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.deploy("v2")
			w.exits(exit.OK, "lock", "acquire", "--message", "a look at the database")
			before := w.stateFiles()
			args := []string{command}
			if command != "rollback" {
				args = append(args, "--image", w.image("v3"), "--version", "v3")
			}
			w.refuses(exit.LeaseHeld, "a look at the database", args...)
			if now := w.stateFiles(); !maps.Equal(now, before) {
				t.Errorf("the state files are\n%s\nand were\n%s", now, before)
			}
			w.exits(exit.OK, "lock", "release")
			w.exits(exit.OK, args...)
		})
	}
}

// One that was killed at any operation is run again by the same command.
func TestRollback_AndRedeployKilledAnywhereGoOnWhenTheyRunAgain(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"rollback":      {"rollback"},
		"to a version":  {"rollback", "v1"},
		"with new ones": {"rollback", "--fresh", "v1"},
		"redeploy":      {"redeploy", "--image", "", "--version", "v2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.deploy("v1")
			w.deploy("v2")
			if args[0] == "redeploy" {
				args[2] = w.image("v2")
				w.replace("healthcheck: {interval", "env: {clear: {AGAIN: \"yes\"}}\nhealthcheck: {interval")
			}
			want := "v1"
			if args[0] == "redeploy" {
				want = "v2"
			}
			w.operations()
			for _, moment := range []func(host.Op) bool{
				func(op host.Op) bool { return op.Kind == host.KindEngine && strings.HasSuffix(op.Name, "/start") },
				func(op host.Op) bool { return strings.Contains(op.Path, "/proxy/routes/") && op.Name == "write" },
				func(op host.Op) bool { return op.Kind == host.KindEngine && strings.HasSuffix(op.Name, "/stop") },
			} {
				w.killedAt(moment, args...)
			}
			w.exits(exit.OK, args...)
			w.serves(want)
			if stdout, _ := w.exits(exit.OK, "lock", "status"); !strings.Contains(stdout, "free") {
				t.Errorf("the lease is not free: %s", stdout)
			}
			if stdout, _ := w.exits(exit.OK, "app", "stale-containers"); strings.Contains(stdout, "shop-") {
				t.Errorf("something was left running:\n%s", stdout)
			}
		})
	}
}
