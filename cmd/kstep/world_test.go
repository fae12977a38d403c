package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

func TestMain(m *testing.M) { os.Exit(registrytest.Main(m)) }

// world is the whole of kstep against hosts that are not there: three fake
// hosts, a registry in this process, and the real command line.
type world struct {
	t        *testing.T
	dir      string
	ssh      config.SSH
	hosts    map[string]*hosttest.Fake
	registry *registrytest.Server
	env      map[string]string
	stdin    io.Reader
	programs []string // What images have, besides the application.

	filesTransport string // Empty has kstep choose one.

	lookup func(context.Context, string) ([]netip.Addr, error) // Nil finds nothing.

	mu       sync.Mutex
	commands []string // Those that exits ran.
	ops      []host.Op
	on       func(host.Op) // Called after every operation.
	// refuse is the error that an operation ends with instead of being done.
	refuse func(host.Op) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), hosts: map[string]*hosttest.Fake{}, registry: registrytest.New(t),
		env:      map[string]string{"HOME": t.TempDir()},
		programs: []string{"bin/sh", "usr/bin/wget"}, // As the cord needs them.

		filesTransport: host.FilesShell, // These hosts are near.
	}
	var fakes []*hosttest.Fake
	for _, name := range []string{"vm1", "vm2", "vm3"} {
		fake := hosttest.NewFake(t, name)
		fake.Engine.AddImage("traefik:v3.6", hosttest.Image{})
		w.hosts[name] = fake
		fakes = append(fakes, fake)
	}
	w.ssh = hosttest.SSH(t, fakes...)
	w.configure("")
	return w
}

// withAssets has assets of the application, whose folders each deploy fills.
func (w *world) withAssets() *world {
	w.t.Helper()
	w.append("asset_path: /app/assets\n")
	return w
}

// configure writes kstep.yml, with more of it at its end.
func (w *world) configure(extra string) {
	w.t.Helper()
	text := fmt.Sprintf(`service: shop
image: acme/shop
registry: {server: %q, insecure: true}
servers:
  web: [vm1, vm2]
  job:
    hosts: [vm3]
    cmd: work hard
    healthcheck: {cmd: "true"}
healthcheck: {interval: 20ms, retries: 3, settle: 200ms}
barrier: {timeout: 20s}
cutover: {drain: 10ms}
ssh:
  config: [%q]
  docker_socket: %s
  known_hosts: |
%s
%s`, w.registry.Host(), w.ssh.Config.Files[0], w.ssh.DockerSocket, indent(w.ssh.KnownHosts), extra)
	w.write("kstep.yml", text)
}

func indent(blocks []string) string {
	var lines []string
	for _, block := range blocks {
		for line := range strings.Lines(block) {
			lines = append(lines, "    "+strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// replace changes kstep.yml.
func (w *world) replace(old, text string) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "kstep.yml"))
	if err != nil || !strings.Contains(string(data), old) {
		w.t.Fatalf("no %q in kstep.yml (%v)", old, err)
	}
	w.write("kstep.yml", strings.Replace(string(data), old, text, 1))
}

// image puts a version of the app into the registry.
func (w *world) image(version string) string {
	w.t.Helper()
	files := []string{ // In this order: always the same image.
		"app/assets/app-" + version + ".css", "app/assets/manifest.json", "app/assets/.keys/" + version, "app/packs/" + version + ".js",
	}
	archive := registrytest.Archive(w.t, layer(w.t, []byte(version), append(files, w.programs...)...))
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	ref, err := name.ParseReference(w.registry.Host()+"/acme/shop:"+version, name.Insecure)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		w.t.Fatal(err)
	}
	return ref.String()
}

// layer is one of an image, with the content in each of the files.
func layer(t *testing.T, content []byte, files ...string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	tw := tar.NewWriter(&buffer)
	for _, path := range files {
		if err := tw.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// behave sets how containers of a version behave on all hosts. It is keyed by
// the version's tag.
func (w *world) behave(version string, b hosttest.Behaviour) {
	for _, fake := range w.hosts {
		fake.Engine.Behave("acme/shop:"+version, b)
	}
}

// kstep runs the real command line in this process.
func (w *world) kstep(args ...string) (code exit.Code, stdout, stderr string) {
	w.t.Helper()
	return w.kstepIn(w.t.Context(), args...)
}

func (w *world) kstepIn(ctx context.Context, args ...string) (code exit.Code, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = w.run(ctx, &out, &errs, args...)
	return code, out.String(), errs.String()
}

func (w *world) run(ctx context.Context, stdout, stderr io.Writer, args ...string) exit.Code {
	p := &program{
		env:   func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
		stdin: w.stdin, stdout: stdout, stderr: stderr, around: w.count,
		filesTransport: w.filesTransport, lookup: w.lookup,
	}
	if p.lookup == nil {
		p.lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	}
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	args = slices.Insert(slices.Clone(args), at, "--config", filepath.Join(w.dir, "kstep.yml"), "--state-dir", filepath.Join(w.dir, "kstep-state"))
	return p.run(ctx, args)
}

// count notes every remote operation.
func (w *world) count(ctx context.Context, op host.Op, next func(context.Context) error) error {
	w.mu.Lock()
	w.ops = append(w.ops, op)
	w.mu.Unlock()
	if w.refuse != nil {
		if err := w.refuse(op); err != nil {
			return err
		}
	}
	err := next(ctx)
	if w.on != nil {
		w.on(op)
	}
	return err
}

// operations are those since the last call.
func (w *world) operations() []host.Op {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return ops
}

// exits expects an exit code.
func (w *world) exits(want exit.Code, args ...string) (stdout, stderr string) {
	w.t.Helper()
	w.mu.Lock()
	w.commands = append(w.commands, strings.Join(args, " "))
	w.mu.Unlock()
	code, stdout, stderr := w.kstep(args...)
	if code != want {
		w.t.Fatalf("kstep %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	if code != exit.OK {
		w.followHints(stderr)
	}
	return stdout, stderr
}

// deploy deploys a ready image, all in one process.
func (w *world) deploy(version string) {
	w.t.Helper()
	w.exits(exit.OK, "deploy", "--image", w.image(version), "--version", version)
}

// state decodes a state file.
func (w *world) state(stage string) map[string]any {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "kstep-state", stage+".json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// get sends a request to a host's port 80, as a user would.
func (w *world) get(hostName string) (int, string) { return w.getAs(hostName, hostName) }

// getAs sends a request for that host name to a host's port 80.
func (w *world) getAs(hostName, name string) (int, string) {
	w.t.Helper()
	h, err := hosttest.Pool(w.t, slices.Collect(maps.Values(w.hosts))...).Get(w.t.Context(), hostName)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, "tcp", "127.0.0.1:80") },
	}}
	resp, err := client.Get("http://" + name + "/")
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// serves expects every web host to answer with the version.
func (w *world) serves(version string) {
	w.t.Helper()
	for _, name := range []string{"vm1", "vm2"} {
		if status, body := w.get(name); status != 200 || !strings.Contains(body, version) {
			w.t.Errorf("%s answers %d %q, want version %s", name, status, body, version)
		}
	}
}
