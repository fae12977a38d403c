// Package bootstrap makes a Docker engine answer on a host that has none: the
// one act for which neither the engine nor SFTP will do. It decides nothing
// about containers.
package bootstrap

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
)

// Script is the script that installs the distribution's engine.
//
//go:embed install.sh
var Script []byte

// startTime is how long an engine may take to answer after it was started.
const startTime = time.Minute

// Ensure makes the host's engine answer. Where it does not, it runs the script
// as root: by itself, or through sudo without a password. renew logs in again,
// because a new group counts for new logins only. did is what was done, or
// empty.
func Ensure(ctx context.Context, h host.Host, script []byte, renew func()) (info engine.Info, did string, err error) {
	info, err = h.Engine().Info(ctx)
	if exit.CodeOf(err) != exit.Unreachable || ctx.Err() != nil {
		return info, "", err
	}
	if err := install(ctx, h, script); err != nil {
		return info, "", err
	}
	renew()
	if info, err = Await(ctx, h); err != nil {
		return info, "", fmt.Errorf("after the engine was installed: %w", err)
	}
	return info, "installed and started the engine", nil
}

// Await waits until the engine answers, as after it was started.
func Await(ctx context.Context, h host.Host) (engine.Info, error) {
	for deadline := time.Now().Add(startTime); ; {
		info, err := h.Engine().Info(ctx)
		if exit.CodeOf(err) != exit.Unreachable || time.Now().After(deadline) {
			return info, err
		}
		select {
		case <-ctx.Done():
			return info, context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func install(ctx context.Context, h host.Host, script []byte) error {
	argv := []string{"sh", "-s"}
	user, err := h.Run(ctx, []string{"id", "-u"}, nil)
	if err != nil {
		return err
	}
	root := strings.TrimSpace(string(user)) == "0"
	if !root {
		argv = append([]string{"sudo", "-n"}, argv...)
	}
	_, err = h.Run(ctx, argv, script)
	failed, answered := errors.AsType[*host.CommandError](err)
	switch {
	case err == nil:
		return nil
	case !answered || failed.Status < 0:
		return fmt.Errorf("install the engine: %w", err)
	case !root && (strings.Contains(failed.Stderr, "sudo:") || failed.Status == 127):
		return exit.With(exit.Failed, fmt.Errorf("install the engine on %s: this needs root, or sudo without a password: %s", h.Name(), failed.Stderr),
			"log in as root (ssh.user) for this once, give the user such a sudo, or install the engine by hand")
	}
	return exit.With(exit.Failed, fmt.Errorf("install the engine: %w", err),
		"bootstrap.script names another way; with an engine that runs there is nothing to install")
}
