//go:build integration

package integration

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/kstep/kstep/integration/rig"
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
)

// suiteRepository is where the suite's image is pushed.
const suiteRepository = "kstep/suite"

func TestConformance_HostsOfTheRigPassTheSuite(t *testing.T) {
	t.Parallel()
	r := takeRig(t)
	pushSuiteImage(t, r)
	tests := map[string]struct {
		host      string
		transport string
		sudo      bool
	}{
		"root over the socket":                    {host: "root@vm1", transport: host.EngineSocket},
		"a user in group docker, over dial-stdio": {host: "deploy@vm2", transport: host.EngineStdio},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			t.Parallel() // Each has a host of its own.
			opts := rigOptions(t, r)
			opts.EngineTransport = test.transport
			h := connect(t, opts, test.host)
			removeLeft(t, h)
			image := rig.Registry + "/" + suiteRepository + ":1"
			if err := h.Engine().PullImage(t.Context(), image, nil, nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := h.Engine().RemoveImage(context.WithoutCancel(t.Context()), image); err != nil {
					t.Error(err)
				}
			})
			_, vm, _ := strings.Cut(test.host, "@")
			restart := r.Host(vm).RestartEngine
			if test.transport == host.EngineStdio {
				restart = nil // What an engine starts again is no matter of how it is reached.
			}
			hosttest.Suite(t, func(*testing.T) host.Host { return h }, image, restart)
		})
	}
}

func TestConformance_ThisMachinePassesTheSuite(t *testing.T) {
	t.Parallel()
	r := takeRig(t)
	pushSuiteImage(t, r)
	h := connect(t, rigOptions(t, r), host.Local)
	image := r.LocalRegistry() + "/" + suiteRepository + ":1"
	if err := h.Engine().PullImage(t.Context(), image, nil, nil); err != nil {
		t.Fatal(err)
	}
	hosttest.Suite(t, func(*testing.T) host.Host { return h }, image, nil)
}

func TestConformance_FullDiskIsTold(t *testing.T) {
	t.Parallel()
	h := connect(t, rigOptions(t, takeRig(t)), "root@vm1")
	file := rig.SmallDir + "/kstep-suite"
	err := h.Files().Write(t.Context(), file, make([]byte, 1<<20), 0o600)
	if !errors.Is(err, host.ErrDiskFull) || exit.CodeOf(err) != exit.Failed || !strings.Contains(err.Error(), "vm1") {
		t.Errorf("write: got %v (exit %d), want ErrDiskFull with the host", err, exit.CodeOf(err))
	}
	if err := h.Files().Create(t.Context(), file, make([]byte, 1<<20), 0o600); !errors.Is(err, host.ErrDiskFull) {
		t.Errorf("create: got %v, want ErrDiskFull", err)
	}
	left, err := h.Run(t.Context(), []string{"ls", "-A", rig.SmallDir}, nil)
	if err != nil || strings.Contains(string(left), "kstep-suite") {
		t.Errorf("got %s, %v, want nothing left behind", left, err)
	}
}

func TestConformance_RefusedSocketIsTold(t *testing.T) {
	t.Parallel()
	h := connect(t, rigOptions(t, takeRig(t)), "nodocker@vm1")
	_, err := h.Engine().Ping(t.Context())
	if err == nil || exit.CodeOf(err) != exit.Unreachable || !strings.Contains(err.Error(), "not permitted on nodocker@vm1") {
		t.Errorf("got %v (exit %d), want a refused socket", err, exit.CodeOf(err))
	}
	if hints := strings.Join(exit.Hints(err), "\n"); !strings.Contains(hints, "group docker") || !strings.Contains(hints, "ssh.sudo") {
		t.Errorf("got hints %q, want the group and ssh.sudo", hints)
	}
	if _, err := h.Files().Read(t.Context(), "/etc/shadow"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want fs.ErrPermission", err)
	}
}

func TestConformance_StoppedEngineIsTold(t *testing.T) {
	t.Parallel()
	r := takeRig(t)
	vm := r.Host("vm3")
	if err := vm.StopEngine(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.StartEngine(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	_, err := connect(t, rigOptions(t, r), "vm3").Engine().Ping(t.Context())
	if err == nil || exit.CodeOf(err) != exit.Unreachable || !strings.Contains(err.Error(), "engine not running on vm3") {
		t.Errorf("got %v (exit %d), want a stopped engine", err, exit.CodeOf(err))
	}
}

func TestConformance_RegistriesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := takeRig(t)
	pushSuiteImage(t, r)
	h := connect(t, rigOptions(t, r), "vm1")
	login := &engine.Auth{Username: rig.RegistryUser, Password: rig.RegistryPassword, Server: rig.AuthRegistry}
	wrong := &engine.Auth{Username: rig.RegistryUser, Password: "wrong-password", Server: rig.AuthRegistry}
	tests := map[string]struct {
		ref  string
		auth *engine.Auth
		want error
		code exit.Code
	}{
		"with a login":           {rig.AuthRegistry + "/" + suiteRepository + ":1", login, nil, exit.OK},
		"without one":            {rig.AuthRegistry + "/" + suiteRepository + ":1", nil, engine.ErrUnauthorized, exit.Registry},
		"with a wrong one":       {rig.AuthRegistry + "/" + suiteRepository + ":1", wrong, engine.ErrUnauthorized, exit.Registry},
		"a missing tag":          {rig.Registry + "/" + suiteRepository + ":none", nil, engine.ErrNotFound, exit.Failed},
		"a missing repository":   {rig.Registry + "/kstep/none:1", nil, engine.ErrNotFound, exit.Failed},
		"a registry that is not": {"registry.invalid/x:1", nil, engine.ErrRegistry, exit.Registry},
		"a closed port":          {"registry:9/x:1", nil, engine.ErrRegistry, exit.Registry},
	}
	for label, test := range tests {
		t.Run(label, func(t *testing.T) {
			err := h.Engine().PullImage(t.Context(), test.ref, test.auth, nil)
			if !errors.Is(err, test.want) || exit.CodeOf(err) != test.code {
				t.Errorf("got %v (exit %d), want %v (exit %d)", err, exit.CodeOf(err), test.want, test.code)
			}
			if err != nil && (strings.Contains(err.Error(), "wrong-password") || !strings.Contains(err.Error(), "vm1")) {
				t.Errorf("got %v, want the host and no password", err)
			}
		})
	}
}

// rigOptions are the deployer's key and known hosts, used from this machine.
func rigOptions(t *testing.T, r *rig.Rig) host.Options {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"id_ed25519": "", "known_hosts": ""}
	for file := range files {
		got, err := r.Deployer.Run(t.Context(), nil, ".", "cat", "/root/.ssh/"+file)
		if err != nil || got.Exit != 0 {
			t.Fatalf("read %s: %v %s", file, err, got.Stderr)
		}
		files[file] = filepath.Join(dir, file)
		write(t, files[file], got.Stdout)
	}
	var names strings.Builder
	for _, h := range r.Hosts {
		names.WriteString("Host " + h.Name + "\n  HostName " + h.Addr + "\n")
	}
	sshConfig := filepath.Join(dir, "config")
	write(t, sshConfig, names.String())
	opts, err := host.OptionsFrom(config.SSH{
		Keys: []string{files["id_ed25519"]}, KnownHosts: []string{files["known_hosts"]},
		Config: config.SSHConfig{Files: []string{sshConfig}}, ConnectTimeout: config.Duration(10 * time.Second),
	}, nil, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	opts.FilesTransport = host.FilesShell // The other tests here use SFTP: the hosts are near.
	return opts
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, opts host.Options, name string) host.Host {
	t.Helper()
	h, err := hosttest.NewPool(t, opts).Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pushSuiteImage makes the image that the suite requires, from busybox alone.
func pushSuiteImage(t *testing.T, r *rig.Rig) {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("install busybox-static: %v", err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	add := func(h tar.Header, data []byte) {
		h.Size, h.Mode = int64(len(data)), 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg}, busybox)
	for _, applet := range []string{"sh", "sleep", "httpd", "nslookup"} {
		add(tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
	}
	add(tar.Header{Name: "tmp/", Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "www/index.html", Typeflag: tar.TypeReg}, []byte("hello"))
	for link, target := range map[string]string{
		"www": "../www", "outside": "../../../../www", "missing": "/missing", "file": "/www/index.html", "root": "/",
	} {
		add(tar.Header{Name: "links/" + link, Typeflag: tar.TypeSymlink, Linkname: target}, nil)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.Config(image, v1.Config{Cmd: []string{"/bin/sh", "-c", "trap 'exit 0' TERM; httpd -f -p 3000 -h /www & wait"}, Env: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(r.RegistryAddress()+"/"+suiteRepository+":1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
}

// removeLeft removes the containers of a run that was killed: its image could not be
// removed at the end of this one.
func removeLeft(t *testing.T, h host.Host) {
	t.Helper()
	all, err := h.Engine().Containers(t.Context(), engine.Filter{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if !strings.HasPrefix(c.Name, "kstep-suite-") {
			continue
		}
		if err := h.Engine().Remove(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
}
