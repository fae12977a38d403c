// Package hooktest writes programs for tests to run. It is only for tests.
package hooktest

import (
	"os"
	"syscall"
	"testing"
)

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
