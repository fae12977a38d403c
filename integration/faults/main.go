// Command faults breaks kstep everywhere and writes down what became of it:
// docs/faults.md. The breaking and the judging is TestFaults in cmd/kstep, on
// hosts that are not there; this only runs it at full length and makes the
// table.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
)

func main() {
	step := flag.Int("step", 1, "try one of so many operations")
	out := flag.String("out", "docs/faults.md", "the file to write")
	from := flag.String("from", "", "measure nothing: make the table of this earlier measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *step, *from, *out); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, step int, from, out string) error {
	if from == "" {
		dir, err := os.MkdirTemp("", "kstep-faults-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		from = filepath.Join(dir, "rows.json")
		if err := measure(ctx, step, from); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var rows []row
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(out, []byte(page(rows, step)), 0o644)
}

// measure runs the test. It writes no table when anything did not converge.
func measure(ctx context.Context, step int, file string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "faults", "-count=1", "-timeout", "3h", "-parallel", "8",
		"-run", "^TestFaults_", "./cmd/kstep", "-args", "-faults-out", file, "-faults-step", strconv.Itoa(step))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}
