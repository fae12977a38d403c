package main

import (
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
)

func TestProxy_RebootKeepsTheRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy("v1")
	_, stderr := w.exits(exit.OK, "proxy", "boot")
	if !strings.Contains(stderr, "kstep-proxy runs") {
		t.Errorf("a proxy that runs is not left alone:\n%s", stderr)
	}
	w.configure("proxy: {args: {accesslog: 'true'}}\n")
	w.exits(exit.Failed, "proxy", "boot")
	w.exits(exit.OK, "proxy", "reboot", "--rolling")
	w.exits(exit.OK, "proxy", "boot")
	w.serves("v1")
}
