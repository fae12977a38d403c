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
	name  string
	step  int    // Try one of so many operations.
	parts int    // Runs that share the operations: what one of them measured is kept.
	only  string // The kinds of faults, as a pattern.
	from  string // An earlier measurement, in place of a new one.
	rows  []row
	args  []string // Of `go`, as far as they differ.
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
	fakes := suite{name: "fakes", parts: 12, args: onFakes, only: pattern(broken())}
	behind := suite{name: "behind", parts: 4, args: onFakes, only: pattern(behindItsBack())}
	rig := suite{name: "rig", parts: 1, args: []string{"test", "-tags", "integration", "-parallel", "3", "./integration"}}
	flag.IntVar(&fakes.step, "step", 1, "on the fake hosts, try one of so many operations")
	flag.IntVar(&rig.step, "rig-step", 1, "on the rig, try one of so many operations")
	flag.IntVar(&behind.step, "behind-step", 1, "on the fake hosts, try one of so many operations with changes behind kstep's back")
	flag.StringVar(&fakes.from, "from", "", "measure nothing on the fake hosts: take the rows of this earlier measurement")
	flag.StringVar(&behind.from, "behind-from", "", "measure no changes behind kstep's back: take the rows of this earlier measurement, or "+none)
	flag.StringVar(&rig.from, "rig-from", "", "measure nothing on the rig: take the rows of this earlier measurement")
	out := flag.String("out", "docs/faults.md", "the file to write")
	keep := flag.String("keep", ".faults", "the folder for what each part measured: an interrupted measurement goes on there")
	flag.Parse()
	for _, s := range []*suite{&fakes, &behind} {
		s.parts = max(1, s.parts/s.step) // A sample needs no interruption.
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := errors.Join(fakes.get(ctx, *keep), behind.get(ctx, *keep), rig.get(ctx, *keep))
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
func (s *suite) get(ctx context.Context, keep string) error {
	files := []string{s.from}
	switch s.from {
	case none:
		return nil
	case "":
		var err error
		if files, err = s.measure(ctx, keep); err != nil {
			return err
		}
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var rows []row
		if err := json.Unmarshal(data, &rows); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		s.rows = append(s.rows, rows...)
	}
	s.rows = united(s.rows)
	return nil
}

// measure runs the parts of which there are no rows in the folder, and returns the
// files with the rows of all. A part in which anything did not converge has none.
func (s *suite) measure(ctx context.Context, keep string) ([]string, error) {
	folder, err := filepath.Abs(keep)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return nil, err
	}
	var files []string
	var failed []error
	for part := range s.parts {
		file := filepath.Join(folder, fmt.Sprintf("%s-%d-%dof%d.json", s.name, s.step, part+1, s.parts))
		files = append(files, file)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		if err := s.measurePart(ctx, part, file); err != nil {
			failed = append(failed, fmt.Errorf("%s, part %d of %d: %w", s.name, part+1, s.parts, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return files, errors.Join(failed...)
}

func (s *suite) measurePart(ctx context.Context, part int, file string) error {
	unproven := file + ".unproven"
	args := append(slices.Clone(s.args), "-count=1", "-timeout", "3h", "-run", "^TestFaults_",
		"-args", "-faults-out", unproven, "-faults-step", strconv.Itoa(s.step*s.parts))
	if s.only != "" {
		args = append(args, "-faults-only", s.only, "-faults-offset", strconv.Itoa(s.step*part))
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return os.Rename(unproven, file)
}
