package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/lines"
	"github.com/kstep/kstep/internal/platform"
)

// killAfter is how long docker may take to cancel a build before it is
// killed; kstep itself has five seconds.
const killAfter = 3 * time.Second

// Build builds the image and hands over what docker prints, line by line. An
// image of one platform ends in the engine; of several, as an OCI archive in
// archive, which is not used otherwise.
func (b Builder) Build(ctx context.Context, spec Spec, archive io.Writer, line func(string)) error {
	env, err := b.environment(spec)
	if err != nil {
		return err
	}
	told := &lines.Writer{Emit: line, Keep: maxTail}
	stdout := io.Writer(told)
	if spec.several() {
		stdout = archive
	}
	err = run(ctx, b.Docker, env, b.arguments(spec), stdout, told)
	told.Flush()
	if err != nil && ctx.Err() == nil {
		return explain(fmt.Errorf("build image: %w", err), told.Last())
	}
	return err
}

// Save writes the image as docker's own archive.
func (b Builder) Save(ctx context.Context, reference string, archive io.Writer) error {
	told := &lines.Writer{Keep: maxTail}
	err := run(ctx, b.Docker, nil, []string{"save", reference}, archive, told)
	told.Flush()
	if err != nil && ctx.Err() == nil {
		return explain(fmt.Errorf("save image %s: %w", reference, err), told.Last())
	}
	return err
}

// ImageID is the engine's id of an image, or empty if it has no such image.
func (b Builder) ImageID(ctx context.Context, reference string) string {
	out, err := capture(ctx, b.Docker, nil, "image", "inspect", "--format", "{{.Id}}", reference)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

func capture(ctx context.Context, docker string, env []string, args ...string) (string, error) {
	var out bytes.Buffer
	err := run(ctx, docker, env, args, &out, io.Discard)
	return out.String(), err
}

// run starts docker in a process group of its own, so that all it started
// (plugins, credential helpers) ends with the context, and that a terminal's
// interrupt reaches kstep alone.
func run(ctx context.Context, docker string, env, args []string, stdout, stderr io.Writer) error {
	cmd := exec.CommandContext(ctx, docker, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	platform.NewGroup(cmd)
	cmd.Cancel = func() error { return platform.SignalGroup(cmd, syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err := cmd.Run()
	if ctx.Err() != nil {
		if cmd.Process != nil {
			// Whatever ignored the first signal; an empty group is no error.
			_ = platform.SignalGroup(cmd, syscall.SIGKILL)
		}
		return ctx.Err()
	}
	return err
}

// maxTail is how many lines are looked through for what went wrong.
const maxTail = 40

// explain adds the output's line that shows the cause, and a hint if known.
func explain(err error, tail []string) error {
	if errors.Is(err, syscall.ENOSPC) {
		return exit.With(exit.Failed, err, "make room on the disk of the state folder")
	}
	cause := telling(tail)
	if cause != "" {
		err = fmt.Errorf("%w: %s", err, cause)
	}
	text := strings.ToLower(strings.Join(tail, "\n")) // Clients differ in capitals.
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, strings.ToLower(part)) {
				return true
			}
		}
		return false
	}
	switch {
	case has("Cannot connect to the Docker daemon", "error during connect"):
		return exit.With(exit.Unreachable, err, "start the docker engine of this machine, or name another in DOCKER_HOST")
	case has("permission denied while trying to connect"):
		return exit.With(exit.Unreachable, err, "add this user to the docker group, or name another engine in DOCKER_HOST")
	case has("no space left on device"):
		return exit.With(exit.Failed, err, "make room on the engine's disk: docker system df, docker builder prune")
	case has("not supported for the docker driver", "driver not connecting", "exporter is not supported", "currently not supported for docker driver",
		"is not supported by the docker driver", "exporter \"oci\" could not be found", "Multi-platform build is not supported", "Multiple platforms feature"):
		return exit.With(exit.Config, err, "docker buildx create --use --driver docker-container makes a builder that can")
	case has("exec format error"):
		return exit.With(exit.Failed, err, "another processor's programs need emulation here: docker run --privileged --rm tonistiigi/binfmt --install all")
	}
	return exit.With(exit.Failed, err)
}

func telling(tail []string) string {
	for _, t := range slices.Backward(tail) {
		if strings.Contains(t, "ERROR:") || strings.Contains(t, "failed to solve") {
			return strings.TrimPrefix(strings.TrimSpace(t), "ERROR: ")
		}
	}
	if len(tail) > 0 {
		return strings.TrimSpace(tail[len(tail)-1])
	}
	return ""
}
