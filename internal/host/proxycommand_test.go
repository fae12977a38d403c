package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// TestMain makes the test's own program one that joins its standard input and
// output to an address, as socat does.
func TestMain(m *testing.M) {
	if address := os.Getenv("KSTEP_TEST_JOIN"); address != "" {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		go func() {
			io.Copy(conn, os.Stdin)
			os.Exit(0)
		}()
		io.Copy(os.Stdout, conn)
		return
	}
	os.Exit(m.Run())
}

// join is a ProxyCommand that connects to an address, and notes its process.
func join(t *testing.T, address, pidFile string) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("sh -c 'echo $$ > %s; KSTEP_TEST_JOIN=%s exec %s'", pidFile, address, program)
}

// configured puts lines in front of the ssh_config of a pool's options.
func configured(t *testing.T, opts host.Options, lines string) host.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ssh_config")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.ConfigFiles = append([]string{file}, opts.ConfigFiles...)
	opts.ConnectTimeout = time.Minute // A busy machine starts a program slowly.
	return opts
}

// gone waits until the process that is named in a file has ended.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d of the ProxyCommand goes on", pid)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestGet_ProxyCommandMakesTheConnectionAndEndsWithIt(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	pidFile := filepath.Join(t.TempDir(), "pid")
	opts := configured(t, hosttest.Options(t, fake), "Host vm1\n  ProxyCommand "+join(t, "%h:%p", pidFile)+"\n")
	pool := host.NewPool(opts)
	h, err := pool.Get(t.Context(), "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if home, err := h.Files().Home(t.Context()); err != nil || home != fake.Home {
		t.Errorf("got %q, %v, want %q", home, err, fake.Home)
	}
	if _, err := h.Engine().Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	gone(t, pidFile)
	fake.ChangeHostKey()
	_, err = get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "HOST KEY OF VM1 HAS CHANGED")
	gone(t, pidFile)
}

func TestGet_ProxyCommandThatFailsIsShownWithItsPlace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		command string
		parts   []string
	}{
		"it ends with a complaint": {"sh -c 'echo the tunnel is shut >&2; exit 7'", []string{"exit status 7", "the tunnel is shut"}},
		"it is not there":          {"/nothing/here %h", []string{"exit status 127", "/nothing/here"}},
		"it ends in silence":       {"true", []string{"ended"}},
		"it talks of other things": {"echo hello", []string{"ended"}},
		"it waits for ever":        {"sh -c 'echo connecting >&2; exec sleep 60'", []string{"no answer within 3s", "connecting"}},
		"it has shut its output":   {"sh -c 'echo odd >&2; exec >&-; exec sleep 60'", []string{"odd"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := hosttest.NewFake(t, "vm1")
			opts := configured(t, hosttest.Options(t, fake), "Host vm1\n  ProxyCommand "+test.command+"\n")
			opts.ConnectRetries = 0
			if strings.Contains(test.command, "connecting") {
				opts.ConnectTimeout = 3 * time.Second
			}
			_, err := get(t, opts, "vm1")
			wantError(t, err, exit.Unreachable, append(test.parts, "connect to vm1", "ProxyCommand of "+opts.ConfigFiles[0]+":2")...)
		})
	}
}

func TestGet_ProxyCommandEndsWhenTheContextDoes(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	pidFile := filepath.Join(t.TempDir(), "pid")
	opts := configured(t, hosttest.Options(t, fake), "Host vm1\n  ProxyCommand sh -c 'echo $$ > "+pidFile+".new; mv "+pidFile+".new "+pidFile+"; sleep 60 & sleep 60'\n")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(pidFile); err == nil || t.Context().Err() != nil {
				cancel()
				return
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	_, err := hosttest.NewPool(t, opts).Get(ctx, "vm1")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	gone(t, pidFile)
}

func TestGet_ProxyCommandOfAJumpHostAndNoneOfTheHostBehindIt(t *testing.T) {
	t.Parallel()
	gate, vm := hosttest.NewFake(t, "gate"), hosttest.NewFake(t, "vm1")
	pidFile := filepath.Join(t.TempDir(), "pid")
	opts := configured(t, hosttest.Options(t, gate, vm),
		"Host gate\n  ProxyCommand "+join(t, gate.Address(), pidFile)+"\nHost vm1\n  ProxyJump gate\n  ProxyCommand /nothing\n")
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	if home, err := h.Files().Home(t.Context()); err != nil || home != vm.Home {
		t.Errorf("got %q, %v, want %q", home, err, vm.Home)
	}
	if _, err := os.Stat(pidFile); err != nil {
		t.Error("the jump host's ProxyCommand was not run")
	}
	opts.ProxyJump = "none"
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Errorf("ssh.proxy_jump: none: %v", err)
	}
}

func TestGet_SSHAsProxyCommandJumpsAsProxyJumpDoes(t *testing.T) {
	t.Parallel()
	gate, vm := hosttest.NewFake(t, "gate"), hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, gate, vm)
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(gate.KnownHosts()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts = configured(t, opts, fmt.Sprintf("Host vm1\n  ProxyCommand ssh -F %s -o UserKnownHostsFile=%s -o BatchMode=yes -W [%%h]:%%p root@gate\n",
		opts.ConfigFiles[0], known))
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatalf("%v (this test needs openssh-client)", err)
	}
	if home, err := h.Files().Home(t.Context()); err != nil || home != vm.Home {
		t.Errorf("got %q, %v, want %q", home, err, vm.Home)
	}
}
