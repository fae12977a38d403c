// Package hooktest writes and finds programs for tests to run. It is only for tests.
package hooktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Installed is the path of a program of the system. Without it the test is skipped, but
// in CI it fails: .ci/run installs them all.
func Installed(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not installed; .ci/run installs it", program)
	default:
		t.Skipf("%s is not installed", program)
	}
	return ""
}

// BusyBox is a folder with all programs of BusyBox, in place of $PATH.
func BusyBox(t testing.TB) string {
	t.Helper()
	path, dir := Installed(t, "busybox"), t.TempDir()
	list, err := exec.CommandContext(t.Context(), path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Program writes a program. Tests run side by side, and a fork elsewhere would
// inherit the file while it is open for writing: running it would then fail
// with `text file busy` (golang/go#22315). So nothing is forked meanwhile.
func Program(t testing.TB, file, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil { //nolint:gosec // It is to be run.
		t.Fatal(err)
	}
}
