//go:build integration

package integration

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/integration/rig"
)

// before is the commit of the kstep whose hosts are taken over. What it leaves
// on hosts differs from today's: routes without owner, restart policies that
// outlive a stop, no run directory in the labels.
const before = "3eaa8ab"

// buildBefore builds that kstep once for all tests.
var buildBefore = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kstep-before-")
	if err != nil {
		return "", err
	}
	archive := exec.Command("git", "archive", before)
	archive.Dir = ".."
	unpack := exec.Command("tar", "-x", "-C", dir)
	reader, writer := io.Pipe()
	archive.Stdout, archive.Stderr, unpack.Stdin = writer, os.Stderr, reader
	if err := unpack.Start(); err != nil {
		return "", err
	}
	err = archive.Run()
	writer.CloseWithError(err)
	if err != nil {
		return "", fmt.Errorf("git archive %s (a shallow clone lacks it: git fetch --unshallow): %w", before, err)
	}
	if err := unpack.Wait(); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-o", "kstep", "./cmd/kstep")
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kstep %s: %w: %s", before, err, out)
	}
	return filepath.Join(dir, "kstep"), nil
})

// mustBefore runs the older kstep in the deployer and expects exit status 0.
func (w *world) mustBefore(args ...string) {
	w.t.Helper()
	const name = "kstep-before"
	binary, err := buildBefore()
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.rig.Deployer.Path(name), data, 0o755); err != nil { //nolint:gosec // A program.
		w.t.Fatal(err)
	}
	r, err := w.rig.Deployer.Run(w.t.Context(), nil, w.app.Work, append([]string{"/work/" + name}, args...)...)
	if err != nil || r.Exit != 0 {
		w.t.Fatalf("the older kstep %v: exit status %d, %v\n%s%s", args, r.Exit, err, r.Stdout, r.Stderr)
	}
}

// TestTakeover_HostsOfAnOlderKstepAreTakenOverWithoutALostRequest: the hosts go
// on with the new kstep as they are, also back to a version that the older one
// deployed and retained.
func TestTakeover_HostsOfAnOlderKstepAreTakenOverWithoutALostRequest(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			s.extra += "cutover: {drain: 3s}\n" // Idle connections of the older kstep's route last as long.
			w := begin(t, s)
			w.ignore("/before.yml")
			w.write("before.yml", strings.Replace(s.yaml(), "    healthcheck: {settle: 1s}\n", "", 1)) // It does not know this key.
			w.mustBefore("-c", "before.yml", "deploy")
			w.commit(s.version("v2", ""))
			w.mustBefore("-c", "before.yml", "deploy")
			w.serves("v2")
			load := w.load(rig.Load{Pace: 100 * time.Millisecond})
			w.commit(s.version("v3", ""))
			w.must("deploy")
			w.serves("v3")
			w.isIn("kstep-proxy", "kstep", "kstep-shop")
			w.must("rollback")
			w.serves("v2")
			w.commit(s.version("v4", ""))
			w.stagewise()
			w.serves("v4")
			w.lostNothing(load, 1_000)
		})
	}
}
