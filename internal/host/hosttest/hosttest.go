// Package hosttest is a host that is not there: an SSH and SFTP server with a
// Docker engine behind it, all in the test's own process, so that a real
// host.Pool connects to it. The suite in it is passed by the fake and by real
// hosts alike, which is what makes the fake worth testing against. It imitates
// what kstep uses and nothing else.
package hosttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/host"
)

// Fake is a host. Its methods may be called at any time.
type Fake struct {
	// Name is what SSH and Pool call it, such as `vm1`.
	Name string
	// Root is the folder that stands for the host's file system: nothing
	// outside can be reached. Home and Socket are in it.
	Root, Home, Socket string
	// Engine is the host's Docker engine.
	Engine *Engine

	t        testing.TB
	listener net.Listener
	server   *ssh.ServerConfig
	hostKey  ssh.Signer
	keyFile  string // Of the client.

	mu    sync.Mutex
	mood  Mood
	self  machine
	tools string  // The functions of Program.
	peers []*Fake // Hosts that can be reached from this one, for jumps.

	authority     *Authority
	authorityMade sync.Once
	conns         map[net.Conn]bool
	line          *Line // Between it and its clients; nil is none.
}

// Mood is how a host misbehaves; the zero Mood is a good host.
type Mood struct {
	RefuseKeys     bool          // The login fails.
	NoForwarding   bool          // sshd forbids forwarded sockets.
	NoTCP          bool          // sshd forbids forwarded addresses.
	NoListen       bool          // sshd does not let a client listen on the host.
	SocketDenied   bool          // The user may not open the engine's socket.
	SudoDenied     bool          // sudo requires a password.
	NoDockerClient bool          // There is no docker program.
	NoSFTP         bool          // sshd has no SFTP.
	DiskFull       bool          // Writes fail for want of space.
	HiddenProc     bool          // /proc is mounted with hidepid=2.
	NoCommands     bool          // sshd runs no programs (ForceCommand internal-sftp).
	Deaf           bool          // Connections are accepted and never answered.
	Stuck          bool          // SFTP and the engine do not answer any more; sshd does.
	Slow           time.Duration // So much later comes each part of an answer of SFTP and the engine.
	// LoginShell runs the commands, such as /bin/tcsh; empty is one that adds
	// nothing of its own (the fake then starts the program without it). Its
	// start files are in the home folder, and what they print comes before SFTP.
	LoginShell string
}

// NewFake starts a host that lives as long as the test.
func NewFake(t testing.TB, name string) *Fake {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	f := &Fake{
		Name: name, Root: root, t: t,
		Home:   filepath.Join(root, "root"),
		Socket: filepath.Join(root, "run", "docker.sock"),
		conns:  map[net.Conn]bool{},
	}
	for _, dir := range []string{f.Home, filepath.Dir(f.Socket)} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	for _, proc := range []string{"proc", "hidden"} {
		must(t, os.MkdirAll(filepath.Join(root, proc), 0o755))
		must(t, os.Symlink("/proc/uptime", filepath.Join(root, proc, "uptime")))
	}
	must(t, os.WriteFile(f.Socket, nil, 0o600)) // So that it can be seen.
	f.self = newMachine(t, name)
	f.Engine = newEngine(f)
	f.hostKey, _ = newKey(t)
	clientKey, clientPEM := newKey(t)
	f.keyFile = filepath.Join(t.TempDir(), "id_ed25519")
	must(t, os.WriteFile(f.keyFile, clientPEM, 0o600))
	f.server = f.serverConfig(clientKey.PublicKey())
	f.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var served sync.WaitGroup
	served.Go(f.accept)
	t.Cleanup(func() {
		f.listener.Close()
		f.Sever()
		served.Wait()
		f.Engine.close()
	})
	return f
}

// Set changes how the host behaves from now on.
func (f *Fake) Set(m Mood) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mood = m
}

// Mood returns how the host behaves.
func (f *Fake) Mood() Mood {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mood
}

// Program makes scripts that a shell of the host reads from its input find this
// program in place of the machine's own. body is a script for sh, with the arguments
// in "$@".
func (f *Fake) Program(name, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tools += name + "() {\n" + body + "\n}\n"
}

// Proc writes a file of the host's /proc, such as `meminfo`.
func (f *Fake) Proc(name, text string) {
	f.t.Helper()
	file := filepath.Join(f.Root, "proc", name)
	must(f.t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(f.t, os.WriteFile(file, []byte(text), 0o600))
}

func (f *Fake) programs() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tools
}

// Sever breaks all SSH connections, as a network would.
func (f *Fake) Sever() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

// Address is where the SSH server listens.
func (f *Fake) Address() string { return f.listener.Addr().String() }

// KnownHosts is the host's line for known_hosts.
func (f *Fake) KnownHosts() string {
	return knownhosts.Line([]string{f.Address()}, f.hostKey.PublicKey())
}

// Fingerprint is the host key's.
func (f *Fake) Fingerprint() string { return ssh.FingerprintSHA256(f.hostKey.PublicKey()) }

// KeyFile is the private key that may log in.
func (f *Fake) KeyFile() string { return f.keyFile }

// ChangeHostKey gives the host another key, as if it had been set up anew.
func (f *Fake) ChangeHostKey() {
	key, _ := newKey(f.t)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hostKey = key
}

// SSH is the part of a config with which the hosts are reached by their names.
func SSH(t testing.TB, fakes ...*Fake) config.SSH {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ssh_config")
	cfg := config.SSH{
		User: "root", Port: 22, Config: config.SSHConfig{Files: []string{file}},
		ConnectTimeout: config.Duration(20 * time.Second),
		MaxDials:       30,
	}
	var text strings.Builder
	for _, f := range fakes {
		hostname, port, err := net.SplitHostPort(f.Address())
		must(t, err)
		fmt.Fprintf(&text, "Host %s\n  HostName %s\n  Port %s\n  IdentityFile %s\n  IdentitiesOnly yes\n", f.Name, hostname, port, strings.ReplaceAll(f.keyFile, "%", "%%"))
		cfg.KnownHosts = append(cfg.KnownHosts, f.KnownHosts())
		cfg.Keys = []string{f.keyFile}
		cfg.DockerSocket = f.Socket
	}
	for _, f := range fakes {
		f.mu.Lock()
		f.peers = fakes
		f.mu.Unlock()
	}
	if len(fakes) > 1 {
		cfg.Keys = nil // Each has its own, by the ssh_config.
		cfg.DockerSocket = sharedSocket
		for _, f := range fakes {
			f.Socket = sharedSocket
		}
	}
	must(t, os.WriteFile(file, []byte(text.String()), 0o600))
	return cfg
}

// sharedSocket is the path of the socket where several hosts need the same.
const sharedSocket = "/run/fake-docker.sock"

// Options are the pool's options with which the hosts are reached by their
// names. A test may change them before it makes a pool.
func Options(t testing.TB, fakes ...*Fake) host.Options {
	t.Helper()
	none := func(string) (string, error) { return "", fmt.Errorf("no secrets here") }
	env := func(name string) string { return map[string]string{"HOME": t.TempDir()}[name] }
	opts, err := host.OptionsFrom(SSH(t, fakes...), none, env)
	must(t, err)
	opts.RetryPause = time.Millisecond
	opts.FilesTransport = host.FilesShell // These hosts are near.
	return opts
}

// Pool is a pool that reaches the hosts by their names.
func Pool(t testing.TB, fakes ...*Fake) *host.Pool {
	t.Helper()
	return NewPool(t, Options(t, fakes...))
}

// NewPool makes a pool that is closed with the test.
func NewPool(t testing.TB, opts host.Options) *host.Pool {
	t.Helper()
	pool := host.NewPool(opts)
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Errorf("close pool: %v", err)
		}
	})
	return pool
}

// Connect returns the host itself, over a pool of its own.
func (f *Fake) Connect(t testing.TB) host.Host {
	t.Helper()
	h, err := Pool(t, f).Get(t.Context(), f.Name)
	must(t, err)
	return h
}

// Offer limits the algorithms of the SSH server from now on.
func (f *Fake) Offer(algorithms ssh.Config) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limited := *f.server
	limited.Config = algorithms
	f.server = &limited
}

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return signer, pem.EncodeToMemory(block)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
