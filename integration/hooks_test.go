//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kstep/kstep/integration/rig"
)

// noting is a hook that writes its variables as one line.
const noting = `#!/bin/sh
echo "$(basename "$0") of $KSTEP_COMMAND $KSTEP_SUBCOMMAND: $KSTEP_SERVICE_VERSION on $KSTEP_HOSTS by $KSTEP_PERFORMER, ${KSTEP_RUNTIME:-no} s" >>hooks.log
`

// hooked is a version with hooks in its checkout.
func (s settings) hooked(name string, hooks ...string) rig.AppVersion {
	v := s.version(name, "")
	v.Files[".gitignore"] += "hooks.log\n"
	for _, hook := range hooks {
		v.Files[".kstep/hooks/"+hook] = noting
	}
	return v
}

// noted are the hooks' lines so far; the log begins anew.
func (w *world) noted() []string {
	w.t.Helper()
	path := filepath.Join(w.app.Dir, "hooks.log")
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// noteds expects lines that match, in this order.
func (w *world) noteds(patterns ...string) {
	w.t.Helper()
	lines := w.noted()
	if len(lines) != len(patterns) {
		w.t.Errorf("got %q, want %d lines", lines, len(patterns))
		return
	}
	for i, pattern := range patterns {
		if !regexp.MustCompile("^" + pattern + "$").MatchString(lines[i]) {
			w.t.Errorf("line %d is %q, want %s", i+1, lines[i], pattern)
		}
	}
}
