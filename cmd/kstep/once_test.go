package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestEnvPush_NamesEachMissingSecretOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env    string
		secret []string
	}{
		"of all roles":                    {"env: {secret: [SHARED, OTHER]}\n", []string{"SHARED", "OTHER"}},
		"of roles with more of their own": {"env: {secret: [SHARED]}\n", []string{"SHARED", "ONLY_WEB", "ONLY_JOB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.append(c.env)
			if len(c.secret) == 3 {
				w.replace("  web: [vm1, vm2]\n", "  web: {hosts: [vm1, vm2], env: {secret: [ONLY_WEB]}}\n")
				w.replace("    cmd: work hard\n", "    cmd: work hard\n    env: {secret: [ONLY_JOB]}\n")
			}
			_, stderr := w.exits(exit.Config, w.deployArgs("v1")...)
			for _, secret := range c.secret {
				if n := strings.Count(stderr, "secret "+secret+" is missing"); n != 1 {
					t.Errorf("%s is named %d times:\n%s", secret, n, stderr)
				}
			}
		})
	}
}

func TestState_HintsForMissingFilesComeInTheOrderOfThePipeline(t *testing.T) {
	t.Parallel()
	for stage, want := range map[string][]string{
		"cutover": {"kstep push", "kstep boot", "kstep barrier-wait"},
		"boot":    {"kstep push", "kstep assets", "kstep env-push"},
	} {
		t.Run(stage, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, stderr := w.exits(exit.MissingState, stage)
			at := -1
			for _, command := range want {
				next := strings.Index(stderr, "run `"+command+"` first")
				if next <= at {
					t.Errorf("the hint for %s is at %d, after one at %d:\n%s", command, next, at, stderr)
				}
				at = next
			}
		})
	}
}
