package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestOptions_OfARoleMakeItsContainerAnotherOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	w.replace("cmd: work hard\n", "cmd: work hard\n    options: {memory: 64m, network-alias: worker, restart: always}\n")
	_, stderr := w.exits(exit.OK, w.deployArgs("v1", "--new-release")...)
	if !strings.Contains(stderr, "renamed shop-job-v1 to shop-job-v1_replaced_") || strings.Contains(stderr, "renamed shop-web-v1") {
		t.Errorf("want the worker replaced, and nothing else:\n%s", stderr)
	}
	w.exits(exit.OK, "boot")
	if got := w.state("boot")["status"]; got != "unchanged" {
		t.Errorf("boot run again says %v, want unchanged", got)
	}
}
