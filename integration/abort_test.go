//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestAbort_InTheMiddleOfACutoverLosesNoRequest(t *testing.T) {
	t.Parallel()
	for name, s := range switches() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(name)
			w := begin(t, s)
			w.ignore("/quick.yml")
			w.write("quick.yml", s.yaml())
			w.must("deploy")
			before := map[string][]string{}
			for _, host := range []string{"vm1", "vm2", "vm3"} {
				before[host] = w.running(host)
			}
			load := w.traffic()

			s.extra += "cutover: {limit: 1, wait: 1m}\n"
			w.commit(s.version("v2", ""))
			for _, stage := range allStages()[:6] {
				w.must(stage)
			}
			w.killed(func() error { // vm1 has moved; vm2's turn would come later.
				if names := w.running("vm1"); len(names) != 1 {
					return fmt.Errorf("vm1 runs %v, want the new one alone", names)
				}
				return nil
			}, "cutover")
			if load.Summary().Versions["v2"].Count == 0 {
				t.Fatal("no request was answered by v2: the cutover was not half done")
			}
			if len(w.running("vm2")) != 2 {
				t.Fatalf("vm2 runs %v: the cutover was not half done", w.running("vm2"))
			}
			if err := os.RemoveAll(filepath.Join(w.app.Dir, "kstep-state")); err != nil {
				t.Fatal(err)
			}
			w.must("abort", "--state-from", "hosts")
			w.serves("v1")
			for host, want := range before {
				w.runs(host, want...)
			}
			w.lostNothing(load, 2000)
			after := w.snapshot()
			w.must("abort", "--state-from", "hosts")
			if diff := after.Diff(w.snapshot()); diff != "" {
				t.Errorf("abort run again changed the hosts:\n%s", diff)
			}
			w.must("-c", "quick.yml", "deploy") // Nothing is in the way.
			w.serves("v2")
		})
	}
}

// killed runs kstep and ends it with no warning once the check finds nothing
// wrong.
func (w *world) killed(check func() error, args ...string) {
	w.t.Helper()
	p := w.start(args...)
	w.eventually(check)
	if err := p.Signal(w.t.Context(), "KILL"); err != nil {
		w.t.Fatal(err)
	}
	if r, err := p.Wait(); err != nil || r.Exit != 137 {
		w.t.Fatalf("kstep %v ended by itself, with %d, %v\n%s%s", args, r.Exit, err, r.Stdout, r.Stderr)
	}
}

func TestStateFromHosts_LetsRunnersWithoutArtifactsDeploy(t *testing.T) {
	t.Parallel()
	s := settings{}
	w := begin(t, s)
	w.must("deploy")
	load := w.traffic()
	w.commit(s.version("v2", ""))
	w.must("build")
	w.must("push", "--state-from", "hosts")
	for _, stage := range allStages()[2:] {
		if err := os.RemoveAll(filepath.Join(w.app.Dir, "kstep-state")); err != nil {
			t.Fatal(err)
		}
		w.must(stage, "--state-from", "hosts")
	}
	w.serves("v2")
	w.lostNothing(load, 1000)
}
