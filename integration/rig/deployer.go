package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// deployerWork is Deployer.dir inside the deployer.
const deployerWork = "/work"

// Deployer is the container where kstep runs as in a CI job.
type Deployer struct {
	dir       string
	container string
	// started makes the names of pid files unique.
	started atomic.Int64
}

// Result is what a command left behind.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Path is where a path below the deployer's /work lies on the machine outside.
func (d *Deployer) Path(elem ...string) string {
	return filepath.Join(append([]string{d.dir}, elem...)...)
}

// Run runs a command to its end, in a folder relative to /work, with more
// environment. The error is the rig's: a command that fails has an exit code.
func (d *Deployer) Run(ctx context.Context, env []string, dir string, argv ...string) (Result, error) {
	p, err := d.Start(ctx, env, dir, argv...)
	if err != nil {
		return Result{}, err
	}
	return p.Wait()
}

// Process is a command that runs in the deployer.
type Process struct {
	cmd            *exec.Cmd
	container      string
	pidFile        string
	stdout, stderr lockedBuffer
}

// Start starts a command as Run does. When ctx ends, the command is killed in
// the container too, which killing `docker exec` alone would not do.
func (d *Deployer) Start(ctx context.Context, env []string, dir string, argv ...string) (*Process, error) {
	p := &Process{container: d.container, pidFile: fmt.Sprintf("/tmp/process-%d-%d", os.Getpid(), d.started.Add(1))}
	args := []string{"exec", "--workdir", filepath.Join(deployerWork, dir)}
	for _, e := range env {
		args = append(args, "--env", e)
	}
	args = append(args, d.container, "bash", "-c", `echo $$ >"$0"; exec "$@"`, p.pidFile)
	p.cmd = exec.CommandContext(ctx, "docker", append(args, argv...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.Cancel = func() error {
		return errors.Join(p.Signal(context.WithoutCancel(ctx), "KILL"), p.cmd.Process.Kill())
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("deployer: %w", err)
	}
	return p, nil
}

// Signal sends a signal ("INT", "TERM", "KILL") to the command itself.
func (p *Process) Signal(ctx context.Context, name string) error {
	// The file appears a moment after the start.
	const script = `for _ in {1..100}; do [[ -s $1 ]] && break; sleep 0.01; done; kill -s "$2" "$(cat "$1")"`
	_, err := docker(ctx, "exec", p.container, "bash", "-c", script, "signal", p.pidFile, name)
	return err
}

// Output is what the command has written so far, stdout and stderr.
func (p *Process) Output() (stdout, stderr string) {
	return p.stdout.String(), p.stderr.String()
}

// Wait waits for the command's end.
func (p *Process) Wait() (Result, error) {
	err := p.cmd.Wait()
	result := Result{Stdout: p.stdout.String(), Stderr: p.stderr.String(), Exit: p.cmd.ProcessState.ExitCode()}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		err = nil
	}
	return result, err
}

// lockedBuffer may be read while the command still writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// docker runs the docker client against the engine outside; its answer is
// stdout, its failure an error with stderr in it.
func docker(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strconv.Quote(args[0]), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
