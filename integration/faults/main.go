// Command faults breaks kstep everywhere and writes down what became of it:
// docs/faults.md. The breaking and the judging are tests: TestFaults_ in
// cmd/kstep, on hosts that are not there, and in integration, on the rig; this
// only runs them at full length and makes the tables.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/fault"
)

// suite is one of the two tests, how much of it to run, and where its rows are.
type suite struct {
	step int    // Try one of so many operations.
	only string // The kinds of faults, as a pattern.
	from string // An earlier measurement, in place of a new one.
	rows []row
	args []string // Of `go`, as far as they differ.
}

// behindItsBack are the kinds with which a host changes, and kstep does not see
// it or sees it late. The others break kstep itself or its connections.
func behindItsBack() []fault.Kind { return []fault.Kind{fault.Unobserved, fault.StaleView} }

func broken() []fault.Kind {
	return slices.DeleteFunc(fault.Kinds(), func(k fault.Kind) bool { return slices.Contains(behindItsBack(), k) })
}

// pattern matches the names of attempts with these kinds.
func pattern(kinds []fault.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return " (" + strings.Join(names, "|") + "):"
}

func main() {
	onFakes := []string{"test", "-tags", "faults", "-parallel", "16", "./cmd/kstep"}
	fakes := suite{args: onFakes, only: pattern(broken())}
	behind := suite{args: onFakes, only: pattern(behindItsBack())}
	rig := suite{args: []string{"test", "-tags", "integration", "-parallel", "3", "./integration"}}
	flag.IntVar(&fakes.step, "step", 1, "on the fake hosts, try one of so many operations")
	flag.IntVar(&rig.step, "rig-step", 1, "on the rig, try one of so many operations")
	flag.IntVar(&behind.step, "behind-step", 1, "on the fake hosts, try one of so many operations with changes behind kstep's back")
	flag.StringVar(&fakes.from, "from", "", "measure nothing on the fake hosts: take the rows of this earlier measurement")
	flag.StringVar(&behind.from, "behind-from", "", "measure no changes behind kstep's back: take the rows of this earlier measurement, or "+none)
	flag.StringVar(&rig.from, "rig-from", "", "measure nothing on the rig: take the rows of this earlier measurement")
	out := flag.String("out", "docs/faults.md", "the file to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := errors.Join(fakes.get(ctx), behind.get(ctx), rig.get(ctx))
	if err == nil {
		err = os.WriteFile(*out, []byte(page(fakes, behind, rig)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// none, in place of an earlier measurement, leaves the table out.
const none = "none"

// get reads the rows, measured before or now.
func (s *suite) get(ctx context.Context) error {
	from := s.from
	if from == none {
		return nil
	}
	if from == "" {
		dir, err := os.MkdirTemp("", "kstep-faults-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		from = filepath.Join(dir, "rows.json")
		if err := s.measure(ctx, from); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &s.rows); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	s.rows = united(s.rows)
	return nil
}

// measure runs the test. There are no rows when anything did not converge.
func (s *suite) measure(ctx context.Context, file string) error {
	args := append(slices.Clone(s.args), "-count=1", "-timeout", "3h", "-run", "^TestFaults_",
		"-args", "-faults-out", file, "-faults-step", strconv.Itoa(s.step))
	if s.only != "" {
		args = append(args, "-faults-only", s.only)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOGC=400")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}
