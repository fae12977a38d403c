// Package hook runs a project's own scripts at fixed moments of a deploy, on
// the machine that runs kstep. It knows how to find and run them; when they run
// is up to the commands.
package hook

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lines"
	"github.com/kstep/kstep/internal/platform"
	"github.com/kstep/kstep/internal/report"
)

// keepLines is how much of a failing hook's output its error repeats.
const keepLines = 10

// DefaultTimeout is for a Runner without one.
const DefaultTimeout = 15 * time.Minute

// DefaultGrace is shorter than the five seconds in which kstep leaves after a
// signal.
const DefaultGrace = 3 * time.Second

// Runner runs hooks.
type Runner struct {
	// Dirs are where hooks are looked for, the first hit counts: the project's
	// hooks_path, then ~/.kstep/hooks.
	Dirs []string
	// WorkDir is where they run: the config's folder.
	WorkDir string
	// Env is their environment, to which the variables are added.
	Env []string
	// Timeout ends a hook; zero means DefaultTimeout.
	Timeout time.Duration
	// Grace is what a hook gets between SIGTERM and SIGKILL; zero means
	// DefaultGrace.
	Grace time.Duration
	// Skip runs none (--skip-hooks).
	Skip bool
	// Sink takes their output.
	Sink report.Sink
	// Redact masks secrets in a line of output, or is nil.
	Redact func(string) string
}

// Find is the path of a hook, or empty if there is none. A file that is there
// but not executable is warned about and not run.
func (r *Runner) Find(name string) (string, error) {
	for _, dir := range r.Dirs {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("find hook %s: %w", name, err)
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			continue
		case err != nil:
			return "", exit.With(exit.Config, fmt.Errorf("find hook %s: %w", name, err), "correct its rights, or use --skip-hooks")
		case info.IsDir():
			continue
		case platform.IsWindows:
			return "", exit.With(exit.Config, platform.NotOnWindows("run hook "+path), platform.WSLHint, "or use --skip-hooks")
		case info.Mode().Perm()&0o111 == 0:
			r.emit(report.Event{Kind: report.Warning, Message: "hook " + path + " is not executable and did not run",
				Hints: []string{"chmod +x " + path}})
			return "", nil
		}
		return path, nil
	}
	return "", nil
}

// Run runs the hook of that name, if there is one. It returns an error if the
// hook exits with another status than 0, cannot be started, takes too long, or
// ctx ends; then the hook and all that it started are stopped.
func (r *Runner) Run(ctx context.Context, name string, d Details) error {
	if r.Skip {
		return nil
	}
	path, err := r.Find(name)
	if err != nil || path == "" {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("run hook %s: %w", name, context.Cause(ctx))
	}
	start := time.Now()
	if d.RecordedAt.IsZero() {
		d.RecordedAt = start
	}
	if d.StateDir != "" {
		if d.StateDir, err = filepath.Abs(d.StateDir); err != nil {
			return fmt.Errorf("run hook %s: %w", name, err)
		}
	}
	r.emit(report.Event{Kind: report.HookStarted, Stage: d.Stage, Message: name})
	err = r.execute(ctx, name, path, d)
	status := "ok"
	if err != nil {
		status = "failed"
	}
	r.emit(report.Event{Kind: report.HookFinished, Stage: d.Stage, Message: name, Status: status, Duration: time.Since(start)})
	return err
}

func (r *Runner) execute(ctx context.Context, name, path string, d Details) error {
	limit := cmp.Or(r.Timeout, DefaultTimeout)
	grace := cmp.Or(r.Grace, DefaultGrace)
	limited, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()

	out := &lines.Writer{Keep: keepLines, Emit: func(line string) {
		r.emit(report.Event{Kind: report.Output, Stage: d.Stage, Message: r.redacted(line)})
	}}
	cmd := exec.CommandContext(limited, path)
	cmd.Dir, cmd.Env = r.WorkDir, environ(r.Env, d)
	cmd.Stdout, cmd.Stderr = out, out
	// A group of its own, so that stopping the hook stops what it started, and
	// a Ctrl-C at the terminal reaches it only through kstep.
	platform.NewGroup(cmd)
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(grace, func() { signalGroup(cmd, syscall.SIGKILL) })
		signalGroup(cmd, syscall.SIGTERM)
		return nil
	}
	// For a child that keeps the output open after the hook itself has ended.
	cmd.WaitDelay = grace + 500*time.Millisecond
	err := cmd.Run()
	if kill != nil {
		kill.Stop()
		signalGroup(cmd, syscall.SIGKILL)
	}
	out.Flush()
	return r.judge(limited, name, path, limit, err, out.Last())
}

var errTimeout = errors.New("hook timeout")

func signalGroup(cmd *exec.Cmd, sig syscall.Signal) {
	if cmd.Process != nil {
		// The group may be gone already; there is nothing to do about that.
		_ = platform.SignalGroup(cmd, sig)
	}
}

// judge words what came of a hook.
func (r *Runner) judge(ctx context.Context, name, path string, limit time.Duration, err error, last []string) error {
	said := ""
	if len(last) > 0 {
		said = "; it said last:\n" + r.redacted(strings.Join(last, "\n"))
	}
	status, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errTimeout):
		return exit.With(exit.Deadline, fmt.Errorf("run hook %s (%s): stopped after %s%s", name, path, limit, said),
			"raise hook_timeout, or skip hooks with --skip-hooks")
	case ctx.Err() != nil:
		return fmt.Errorf("run hook %s (%s): %w", name, path, context.Cause(ctx))
	case errors.Is(err, exec.ErrWaitDelay):
		r.emit(report.Event{Kind: report.Warning, Message: "hook " + path + " left a process that keeps its output open",
			Hints: []string{"redirect the output of background processes: command >/dev/null 2>&1 &"}})
		return nil
	case (errors.Is(err, fs.ErrNotExist) || exited && status.ExitCode() == 127) && hasCarriageReturn(path):
		return exit.With(exit.Config, fmt.Errorf("run hook %s: %s has CRLF line ends, so the interpreter in its first line is not found%s", name, path, said),
			`save it with LF line ends: sed -i 's/\r$//' `+path)
	case exited:
		return exit.With(exit.Failed, fmt.Errorf("run hook %s (%s): %s%s", name, path, status.ProcessState, said),
			"correct the hook or what it checks, or skip hooks with --skip-hooks")
	case errors.Is(err, syscall.ENOEXEC):
		return exit.With(exit.Config, fmt.Errorf("run hook %s: %w", name, err), "begin the file with a line such as #!/bin/sh")
	case errors.Is(err, fs.ErrNotExist):
		return exit.With(exit.Config, fmt.Errorf("run hook %s: %w", name, err), "the interpreter in its first line is missing on this machine")
	}
	return exit.With(exit.Config, fmt.Errorf("run hook %s: %w", name, err))
}

// hasCarriageReturn says whether the first line of a script ends as on Windows.
func hasCarriageReturn(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	line, _ := bufio.NewReader(io.LimitReader(file, 4096)).ReadString('\n') // A short file is a line, too.
	return strings.HasPrefix(line, "#!") && strings.HasSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

func (r *Runner) redacted(text string) string {
	if r.Redact == nil {
		return text
	}
	return r.Redact(text)
}

func (r *Runner) emit(e report.Event) {
	if r.Sink != nil {
		r.Sink.Emit(e)
	}
}
