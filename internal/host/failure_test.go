package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// wantError checks the code and that all parts are in message and hints.
func wantError(t *testing.T, err error, code exit.Code, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	if exit.CodeOf(err) != code {
		t.Errorf("got exit code %d, want %d: %v", exit.CodeOf(err), code, err)
	}
	text := err.Error() + "\n" + strings.Join(exit.Hints(err), "\n")
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("got %s\nwant %q in it", text, part)
		}
	}
}

func get(t *testing.T, opts host.Options, name string) (host.Host, error) {
	t.Helper()
	return hosttest.NewPool(t, opts).Get(t.Context(), name)
}

func TestGet_UnknownHostKeyPrintsFingerprintAndLine(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	opts.KnownHosts = nil
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "host key of vm1 is unknown", fake.Fingerprint(), fake.KnownHosts(), "KSTEP_KNOWN_HOSTS")
}

func TestGet_ChangedHostKeyNamesFileAndLine(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	file := filepath.Join(t.TempDir(), "known_hosts")
	opts.KnownHosts = []host.KnownHosts{{Name: file, Text: "# mine\n\n" + fake.KnownHosts() + "\n"}}
	old := fake.Fingerprint()
	fake.ChangeHostKey()
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "HOST KEY OF VM1 HAS CHANGED", fake.Fingerprint(), file+":3", old)
}

func TestGet_HashedKnownHostsAreFound(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	_, key, _ := strings.Cut(fake.KnownHosts(), " ")
	opts.KnownHosts = []host.KnownHosts{{Name: "hashed", Text: xknownhosts.HashHostname(knownhosts.Normalize(fake.Address())) + " " + key, Strict: true}}
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Fatal(err)
	}
}

func TestGet_KeyOfAnotherTypeInKnownHostsIsNotTakenForTheHosts(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	rsa := "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
	opts.KnownHosts = []host.KnownHosts{{Name: "typed", Text: knownhosts.Normalize(fake.Address()) + " " + rsa, Strict: true}}
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "lists only ecdsa-sha2-nistp256", "ssh-keyscan")
}

func TestGet_PinnedFingerprintDecides(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	opts := hosttest.Options(t, fake)
	opts.KnownHosts = nil
	opts.HostKeys = map[string]string{"vm1": fake.Fingerprint()}
	if _, err := get(t, opts, "vm1"); err != nil {
		t.Fatal(err)
	}
	opts.HostKeys = map[string]string{"vm1": "SHA256:other"}
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "host key of vm1 is not the pinned one", fake.Fingerprint(), "SHA256:other")
}

func TestGet_UnreachableHostIsTriedAgainAndNamed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	opts.ConnectRetries = 2
	_, err = get(t, opts, listener.Addr().String())
	wantError(t, err, exit.Unreachable, "connect to "+listener.Addr().String()+" (3 attempts)", "refused", "sshd")
}

func TestGet_NameWithoutAddressIsAboutDNS(t *testing.T) {
	t.Parallel()
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	_, err := get(t, opts, "kstep-no-such-host.invalid")
	wantError(t, err, exit.Unreachable, "connect to kstep-no-such-host.invalid", "DNS")
}

func TestGet_DeafHostEndsWithTheTimeout(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{Deaf: true})
	opts := hosttest.Options(t, fake)
	opts.ConnectTimeout = 50 * time.Millisecond
	_, err := get(t, opts, "vm1")
	wantError(t, err, exit.Unreachable, "connect to vm1", "no answer within 50ms")
}

// A command that only reads gets a host from many places: only the first Get
// waits.
func TestGet_WithOnceASilentHostIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var callers atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			defer c.Close() // Only then: it gets no answer.
			callers.Add(1)
		}
	}()
	defer listener.Close()
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	opts.ConnectRetries, opts.ConnectTimeout, opts.Once = 2, 100*time.Millisecond, true
	pool, name := hosttest.NewPool(t, opts), listener.Addr().String()
	pool.Warm(t.Context(), []string{name})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			_, err := pool.Get(t.Context(), name)
			wantError(t, err, exit.Unreachable, "connect to "+name+": no answer within 100ms")
		})
	}
	all.Wait()
	_, err = pool.Get(t.Context(), name)
	wantError(t, err, exit.Unreachable, "no answer within 100ms")
	if n := callers.Load(); n != 1 {
		t.Errorf("it was called %d times, want once", n)
	}
}

func TestGet_EndOfTheContextIsNoMatterOfTheHost(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{Deaf: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := hosttest.Pool(t, fake).Get(ctx, "vm1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

func TestGet_WrongEntriesAreAboutTheConfig(t *testing.T) {
	t.Parallel()
	opts := hosttest.Options(t, hosttest.NewFake(t, "vm1"))
	for _, entry := range []string{"vm1:port", "root@", "vm1:99999"} {
		_, err := get(t, opts, entry)
		wantError(t, err, exit.Config, entry)
	}
}

func TestEngine_SaysWhyItCannotBeReached(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mood  hosttest.Mood
		down  bool
		sudo  bool
		force string
		parts []string
	}{
		"engine not running": {
			down: true, parts: []string{"engine not running on vm1", "systemctl status docker"},
		},
		"socket not permitted, and the fallback was tried": {
			mood: hosttest.Mood{SocketDenied: true}, parts: []string{"engine socket not permitted on vm1", "group docker", "ssh.sudo: true"},
		},
		"sudo wants a password": {
			mood: hosttest.Mood{SocketDenied: true, SudoDenied: true}, sudo: true,
			parts: []string{"reach engine on vm1 with sudo", "a password is required", "NOPASSWD"},
		},
		"no forwarding and no docker program": {
			mood:  hosttest.Mood{NoForwarding: true, NoDockerClient: true},
			parts: []string{"the SSH server did not open", "command not found", "AllowStreamLocalForwarding"},
		},
		"engine not running, forced over stdio": {
			down: true, force: host.EngineStdio, parts: []string{"engine not running on vm1", "systemctl status docker"},
		},
		"no forwarding, forced over the socket": {
			mood: hosttest.Mood{NoForwarding: true}, force: host.EngineSocket, parts: []string{"vm1", "AllowStreamLocalForwarding"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fake := hosttest.NewFake(t, "vm1")
			fake.Set(test.mood)
			fake.Engine.SetDown(test.down)
			opts := hosttest.Options(t, fake)
			opts.Sudo, opts.EngineTransport = test.sudo, test.force
			h, err := get(t, opts, "vm1")
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Engine().Ping(t.Context())
			wantError(t, err, exit.Unreachable, test.parts...)
		})
	}
}

func TestEngine_FallsBackToDialStdio(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mood hosttest.Mood
		sudo bool
	}{
		"when forwarding is forbidden":          {mood: hosttest.Mood{NoForwarding: true}},
		"with sudo when the socket is not ours": {mood: hosttest.Mood{SocketDenied: true}, sudo: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fake := hosttest.NewFake(t, "vm1")
			fake.Set(test.mood)
			opts := hosttest.Options(t, fake)
			opts.Sudo = test.sudo
			h, err := get(t, opts, "vm1")
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := h.Engine().Info(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestFiles_FullDiskIsTold(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	h := fake.Connect(t)
	if err := h.Files().Mkdir(t.Context(), "dir", 0o755); err != nil {
		t.Fatal(err)
	}
	fake.Set(hosttest.Mood{DiskFull: true})
	err := h.Files().Write(t.Context(), "dir/file", []byte("x"), 0o600)
	wantError(t, err, exit.Failed, "write dir/file on vm1", "df -h")
	if !errors.Is(err, host.ErrDiskFull) {
		t.Errorf("got %v, want ErrDiskFull", err)
	}
	if err := h.Files().Create(t.Context(), "dir/file", []byte("x"), 0o600); !errors.Is(err, host.ErrDiskFull) {
		t.Errorf("create: got %v, want ErrDiskFull", err)
	}
	fake.Set(hosttest.Mood{})
	left, err := os.ReadDir(filepath.Join(fake.Home, "dir"))
	if err != nil || len(left) != 0 {
		t.Errorf("got %v, %v, want nothing left behind", left, err)
	}
}

func TestFiles_RefusedPathIsErrPermission(t *testing.T) {
	t.Parallel()
	h := hosttest.NewFake(t, "vm1").Connect(t)
	_, err := h.Files().Read(t.Context(), "/etc/passwd")
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want fs.ErrPermission", err)
	}
}

func TestFiles_HostWithoutSFTPSaysSo(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{NoSFTP: true})
	_, err := fake.Connect(t).Files().Home(t.Context())
	wantError(t, err, exit.Unreachable, "open SFTP on vm1", "Subsystem sftp")
}

func TestDial_ForbiddenForwardingIsTold(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{NoTCP: true})
	_, err := fake.Connect(t).Dial(t.Context(), "tcp", "172.18.0.2:3000")
	wantError(t, err, exit.Unreachable, "reach 172.18.0.2:3000 from vm1", "AllowTcpForwarding")
	if !errors.Is(err, host.ErrForwardingForbidden) {
		t.Errorf("got %v, want ErrForwardingForbidden", err)
	}
}

func TestListen_ForbiddenForwardingIsTold(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	fake.Set(hosttest.Mood{NoListen: true})
	_, err := fake.Connect(t).Listen(t.Context())
	wantError(t, err, exit.Unreachable, "listen on vm1", "AllowTcpForwarding yes")
	if !errors.Is(err, host.ErrForwardingForbidden) {
		t.Errorf("got %v, want ErrForwardingForbidden", err)
	}
}

// Connections that were not accepted when the SSH connection breaks do not keep anything
// from ending: the client of SSH stands still for each of them.
func TestListen_EndsWithTheConnectionWhateverWaits(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	h := fake.Connect(t)
	l, err := h.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	fake.Sever()
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- errors.Join(err, l.Close())
				return
			}
			conn.Close()
		}
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the listener did not end")
	}
	if _, err := h.Listen(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// TestHost_ThatIsThereAndAnswersNothingEndsWithAnError: keepalives are answered by
// sshd itself, also where every disk of the machine hangs.
func TestHost_ThatIsThereAndAnswersNothingEndsWithAnError(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(context.Context, host.Host) error{
		"a file":      func(ctx context.Context, h host.Host) error { _, err := h.Files().Read(ctx, "file"); return err },
		"a new file":  func(ctx context.Context, h host.Host) error { return h.Files().Create(ctx, "file", nil, 0o600) },
		"a folder":    func(ctx context.Context, h host.Host) error { _, err := h.Files().List(ctx, "folder"); return err },
		"the engine":  func(ctx context.Context, h host.Host) error { _, err := h.Engine().Inspect(ctx, "app"); return err },
		"a container": func(ctx context.Context, h host.Host) error { return h.Engine().Remove(ctx, "app") },
	} {
		for _, begun := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, asked before: %t", name, begun), func(t *testing.T) {
				t.Parallel()
				fake := hosttest.NewFake(t, "vm1")
				opts := hosttest.Options(t, fake)
				opts.Patience = 300 * time.Millisecond
				h, err := get(t, opts, "vm1")
				if err != nil {
					t.Fatal(err)
				}
				if begun {
					if _, err := h.Files().List(t.Context(), "."); err != nil {
						t.Fatal(err)
					}
					if _, err := h.Engine().Info(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				fake.Set(hosttest.Mood{Stuck: true})
				wantError(t, ask(t.Context(), h), exit.Unreachable, "vm1", "no answer", "within")
			})
		}
	}
}

// TestFiles_ThatTakeLongAreWaitedForWhileTheHostAnswers: a large file
// comes in many parts.
func TestFiles_ThatTakeLongAreWaitedForWhileTheHostAnswers(t *testing.T) {
	t.Parallel()
	fake := hosttest.NewFake(t, "vm1")
	if err := os.WriteFile(filepath.Join(fake.Home, "file"), make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := hosttest.Options(t, fake)
	opts.Patience = 10 * time.Second // A busy machine may stand still for more than five.
	h, err := get(t, opts, "vm1")
	if err != nil {
		t.Fatal(err)
	}
	fake.Set(hosttest.Mood{Slow: 100 * time.Millisecond})
	began := time.Now()
	if _, err := h.Files().Read(t.Context(), "file"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*opts.Patience {
		t.Errorf("it took %s, too little to prove anything", took)
	}
}
