package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/kstep/kstep/internal/exit"
)

// fail adds the request and the engine's host to an error, and classifies it.
func (c *Client) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	what = longID.ReplaceAllString(what, " $1")
	if cause, ok := transportCause(err); ok {
		return c.unreachable(what, cause)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	text := message(err)
	kind, hints := classify(text, c.host)
	if kind == nil {
		kind = kindOf(err)
	}
	if kind == nil {
		return fmt.Errorf("%s on %s: %s", what, c.host, text)
	}
	wrapped := fmt.Errorf("%s on %s: %w", what, c.host, &answer{kind, text})
	switch {
	case errors.Is(kind, ErrUnauthorized), errors.Is(kind, ErrRegistry):
		return exit.With(exit.Registry, wrapped, hints...)
	case len(hints) > 0:
		return exit.With(exit.Failed, wrapped, hints...)
	default:
		return wrapped
	}
}

// longID is a container's id, of which people and the engine's tools know the
// first half. An image's digest has no space before it, and stays whole.
var longID = regexp.MustCompile(` ([0-9a-f]{12})[0-9a-f]{52}\b`)

// unreachable is for requests that got no answer. The host's own errors say
// more than this package can, and are kept as they are.
func (c *Client) unreachable(what string, cause error) error {
	if _, ok := errors.AsType[*endedError](cause); ok || errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s on %s: %w", what, c.host, cause)
	}
	if _, ok := errors.AsType[*exit.Error](cause); ok {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return exit.With(exit.Unreachable, fmt.Errorf("%s on %s: %w: %w", what, c.host, ErrUnreachable, cause),
		fmt.Sprintf("is the engine running on %s? systemctl status docker", c.host))
}

// answer is what the engine said, together with the error callers test for.
type answer struct {
	kind error
	text string
}

func (a *answer) Error() string { return a.text }

func (a *answer) Unwrap() error { return a.kind }

// message strips what the client puts before the engine's words.
func message(err error) string {
	text := strings.TrimSpace(err.Error())
	text = strings.TrimPrefix(text, "Error response from daemon: ")
	return strings.TrimSuffix(text, ".")
}

func kindOf(err error) error {
	switch {
	case cerrdefs.IsNotFound(err):
		return ErrNotFound
	case cerrdefs.IsConflict(err):
		return ErrConflict
	case cerrdefs.IsUnauthorized(err), cerrdefs.IsPermissionDenied(err):
		return ErrUnauthorized
	default:
		return nil
	}
}

// hostPort finds the published port in the engine's message, whose form
// differs between versions: `0.0.0.0:80`, `[::]:80`, `:::80`.
var hostPort = regexp.MustCompile(`(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]*\]|::):(\d+)`)

// classify knows the engine's messages for which it has no status of its own:
// everything that goes wrong at a start or in a pull is a 500, or a line in a
// stream that began with 200.
func classify(text, host string) (kind error, hints []string) { //nolint:revive,staticcheck // The kind is the result, not a failure.
	lower := strings.ToLower(text)
	has := func(any ...string) bool {
		for _, s := range any {
			if strings.Contains(lower, s) {
				return true
			}
		}
		return false
	}
	switch {
	case has("no space left on device", "disk quota exceeded"):
		return ErrDiskFull, []string{fmt.Sprintf("free space on %s: docker system df, docker system prune", host)}
	case has("port is already allocated", "address already in use", "ports are not available"):
		port := "the port"
		if m := hostPort.FindStringSubmatch(lower); m != nil {
			port = "port " + m[1]
		}
		return ErrPortTaken, []string{fmt.Sprintf("something on %s uses %s: ss -ltnp, docker ps", host, port)}
	case has("unauthorized", "authentication required", "no basic auth credentials", "access denied", "requested access to the resource is denied", "incorrect username or password"):
		return ErrUnauthorized, nil
	case has("bind source path does not exist"):
		return ErrNoFolder, []string{missingFolder(text, host)}
	case has("non-overlapping ipv4 address pool", "predefined address pools have been fully subnetted"):
		return ErrNoNetwork, []string{fmt.Sprintf("%s has no free network: remove unused ones there with docker network prune, or list more under default-address-pools in /etc/docker/daemon.json", host)}
	case has("no matching manifest for", "exec format error"):
		return ErrPlatform, []string{fmt.Sprintf("the image is not made for the processor of %s: build it for that one (builder.platforms), or take an image that is", host)}
	case has("server gave http response to https client"):
		return ErrRegistry, []string{fmt.Sprintf("the registry speaks plain HTTP: list it under insecure-registries in /etc/docker/daemon.json on %s", host)}
	case has("manifest unknown", "name unknown", "repository does not exist", "not found: manifest"):
		return ErrNotFound, nil
	case has("no such host", "server misbehaving", "connection refused", "i/o timeout", "tls handshake timeout", "network is unreachable",
		"no route to host", "client.timeout exceeded", "certificate signed by unknown authority", "toomanyrequests", "503 service unavailable",
		"500 internal server error", "502 bad gateway", "connection reset by peer") && !has("container"):
		return ErrRegistry, []string{fmt.Sprintf("does the registry run, and can %s reach it?", host)}
	default:
		return nil, nil
	}
}

// missingFolder says how to make a bind folder that is not there. Its path comes
// from the engine, so it goes into a command only if it needs no quotes.
func missingFolder(text, host string) string {
	_, folder, _ := strings.Cut(text, "bind source path does not exist: ")
	folder, _, _ = strings.Cut(folder, "\n")
	command := "mkdir -p its path"
	if plainPath.MatchString(folder) {
		command = "mkdir -p " + folder
	}
	return fmt.Sprintf("make the folder on %s: %s (and chown it to the user that the container runs as, where that is not root)", host, command)
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/@+-]*$`)

// Ended returns why ctx ended, or nil while it did not. The cause keeps its
// wording and exit code, and the result still is ctx.Err() to errors.Is.
//
// A connection has a clock of its own for the same deadline, which may be ahead
// of the context's by a moment: what failed then failed because of ctx, too.
func Ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	err := ctx.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if cause == nil { // A context that has its own idea of its end.
		cause = err
	}
	return &endedError{cause: cause, err: err}
}

type endedError struct{ cause, err error }

func (e *endedError) Error() string { return e.cause.Error() }

func (e *endedError) Unwrap() error { return e.cause }

func (e *endedError) Is(target error) bool { return errors.Is(e.err, target) }
