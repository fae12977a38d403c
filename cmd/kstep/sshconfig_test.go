package main

import (
	"os"
	"strings"
	"testing"
)

func TestDeploy_ReachesHostsByTheWholeOfSSHConfigAndWarnsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := w.ssh.Config.Files[0]
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	more := "Match user git\n  ProxyCommand /nothing\nMatch mood good\n  Port 1\nHost *\n  StrictHostKeyChecking accept-new\n"
	if err := os.WriteFile(file, append([]byte(more), have...), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := w.kstep("server", "exec", "--", "echo", "reached")
	if code != 0 || strings.Count(stdout, "reached") != 3 {
		t.Fatalf("exit status %d: %s%s", code, stdout, stderr)
	}
	for _, part := range []string{file + ":3: Match mood: the condition is unknown", file + ":6: StrictHostKeyChecking accept-new is not followed"} {
		if strings.Count(stderr, part) != 1 {
			t.Errorf("got %q, want %q once", stderr, part)
		}
	}
}
