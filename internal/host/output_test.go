package host_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

func TestRun_StopsAProgramThatPrintsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	pool := hosttest.NewPool(t, opts)
	for _, name := range []string{"vm1", host.Local} {
		h, err := pool.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for program, argv := range map[string][]string{
			"without an end":      {"cat", "/dev/zero"},
			"a byte too much":     {"head", "-c", "33554433", "/dev/zero"},
			"lines, and complain": {"sh", "-c", "yes | tee /dev/stderr"},
		} {
			if name == "vm1" && program == "without an end" {
				argv = []string{"sh", "-c", "yes"} // The fake has no /dev/zero.
			}
			if name == "vm1" && program == "a byte too much" {
				argv = []string{"sh", "-c", "yes | head -c 33554433"}
			}
			if name == "vm1" && program == "lines, and complain" {
				argv = []string{"sh", "-c", "yes; yes >&2"}
			}
			out, err := h.Run(t.Context(), argv, nil)
			if !errors.Is(err, host.ErrLongOutput) || exit.CodeOf(err) != exit.Failed || len(exit.Hints(err)) == 0 || len(out) > 0 ||
				!strings.Contains(err.Error(), "run "+argv[0]+" on "+name+": the output has more than 32 MiB") {
				t.Errorf("%s on %s: got %d bytes, %v", program, name, len(out), err)
			}
		}
		out, err := h.Run(t.Context(), []string{"sh", "-c", "yes | head -c 1000000"}, nil)
		if err != nil || len(out) != 1_000_000 {
			t.Errorf("%s: got %d bytes, %v", name, len(out), err)
		}
	}
}

func TestList_OfAFolderWithoutAnEndIsRefused(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	files := fake.Connect(t).Files()
	folder := fake.Home + "/" + hosttest.EndlessFolder
	for range 2 {
		entries, err := files.List(t.Context(), folder)
		if !errors.Is(err, host.ErrLargeFolder) || len(entries) > 0 || !strings.Contains(err.Error(), folder+" on vm1") {
			t.Fatalf("got %d entries, %v", len(entries), err)
		}
		if _, err := files.List(t.Context(), fake.Home); err != nil {
			t.Errorf("another folder after it: %v", err)
		}
	}
}
