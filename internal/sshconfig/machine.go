package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/platform"
)

// Machine is what the files may depend on: the machine that connects.
type Machine struct {
	Home string
	User string
	UID  string
	Name string // The host name, with its domain if it has one.
	// Env looks up a variable of the environment.
	Env func(name string) (string, bool)
	// Addresses are those of the network interfaces that are up.
	Addresses func() ([]netip.Addr, error)
	// Run executes a command line and says whether its exit status was 0.
	Run func(ctx context.Context, line string) (bool, error)
}

// ThisMachine describes the machine of this process. home is the user's home
// folder.
func ThisMachine(home string, env func(name string) (string, bool)) Machine {
	m := Machine{Home: home, UID: strconv.Itoa(os.Getuid()), Env: env, Addresses: addresses}
	m.Name, _ = os.Hostname() // Without a name, no pattern fits.
	if found, err := user.Current(); err == nil {
		m.User = found.Username
	} else if m.User, _ = env("USER"); m.User == "" {
		m.User = m.UID // A container may have no such user.
	}
	m.Run = func(ctx context.Context, line string) (bool, error) { return run(ctx, Shell(env), line) }
	return m
}

// Shell is the shell for commands in ssh_config.
func Shell(env func(name string) (string, bool)) string {
	if shell, ok := env("SHELL"); ok && shell != "" {
		return shell
	}
	return "/bin/sh"
}

func addresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []netip.Addr
	for _, one := range interfaces {
		if one.Flags&net.FlagUp == 0 {
			continue
		}
		listed, err := one.Addrs()
		if err != nil {
			continue // It went away meanwhile.
		}
		for _, a := range listed {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				found = append(found, prefix.Addr())
			}
		}
	}
	return found, nil
}

// runTime is how long a command of `Match exec` may take.
const runTime = 10 * time.Second

// errStopped is a command that ended with the context of its evaluation.
var errStopped = errors.New("stopped")

// run executes a command as OpenSSH does: without input and output, by the
// user's shell.
func run(ctx context.Context, shell, line string) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(limited, shell, "-c", line)
	platform.NewGroup(cmd)
	cmd.Cancel = func() error { return platform.SignalGroup(cmd, syscall.SIGKILL) }
	err := cmd.Run()
	ended, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, errStopped
	case limited.Err() != nil:
		return false, fmt.Errorf("the command did not end within %s", runTime)
	case exited && ended.Exited():
		return false, nil
	default:
		return false, fmt.Errorf("run the command: %w", err)
	}
}

// home replaces `~` and `~user` at the start of a path.
func (m Machine) home(path string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	name, rest, _ := strings.Cut(path[1:], "/")
	if name == "" {
		return filepath.Join(m.Home, rest), nil
	}
	other, err := user.Lookup(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return filepath.Join(other.HomeDir, rest), nil
}
