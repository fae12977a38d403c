package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/fault"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/host/hosttest"
	"github.com/kstep/kstep/internal/registry/registrytest"
)

// ground is a world for faults: a service that goes from version to version,
// each time with a fault on the way, under the eyes of users.
type ground struct {
	*world
	images  *images
	traffic string // The switch.
	version int    // The one that is to serve.
	latest  int    // The highest one that there was.
	said    strings.Builder
}

// images are the versions in a registry that several worlds share, each put
// there once.
type images struct {
	registry *registrytest.Server
	mu       sync.Mutex
	have     map[string]string
}

func (i *images) get(w *world, version string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.have[version] == "" {
		i.have[version] = w.image(version)
	}
	return i.have[version]
}

// secretMark is in the value of the one secret, and nowhere else.
const secretMark = "hush-hush"

// setting is how a ground is configured.
type setting struct {
	traffic string        // The switch.
	ttl     time.Duration // Of the lease.
}

// newGround starts hosts that nothing was deployed to. Two hosts are enough:
// one of them has two roles, which is the harder case of three.
func newGround(t *testing.T, i *images, how setting) *ground {
	t.Helper()
	g := &ground{images: i, traffic: how.traffic, world: &world{
		t: t, dir: t.TempDir(), hosts: map[string]*hosttest.Fake{}, registry: i.registry,
		env: map[string]string{"HOME": t.TempDir()}, programs: []string{"bin/sh", "usr/bin/wget"}, // As the cord needs them.
	}}
	var fakes []*hosttest.Fake
	for _, name := range []string{"vm1", "vm2"} {
		fake := hosttest.NewFake(t, name)
		fake.Engine.AddImage("traefik:v3.6", hosttest.Image{})
		g.hosts[name] = fake
		fakes = append(fakes, fake)
	}
	g.ssh = hosttest.SSH(t, fakes...)
	g.write("kstep.yml", fmt.Sprintf(`service: shop
image: acme/shop
registry: {server: %q, insecure: true}
servers:
  web: {hosts: [vm1, vm2], replicas: 2}
  job:
    hosts: [vm2]
    cmd: work hard
    healthcheck: {cmd: "true"}
env: {secret: [TOKEN]}
asset_path: /app/assets
tasks:
  migrate: {cmd: [sh, -c, echo migrated]}
  clean: {cmd: [sh, -c, echo cleaned], run: after-cutover}
healthcheck: {interval: 20ms, retries: 3, settle: 200ms}
barrier: {timeout: 20s}
cutover: {drain: 100ms, timeout: 20s}
proxy: {switch: %s}
lease: {ttl: %s}
retain: 2
ssh:
  config: [%q]
  docker_socket: %s
  known_hosts: |
%s
`, i.registry.Host(), how.traffic, how.ttl, g.ssh.Config.Files[0], g.ssh.DockerSocket, indent(g.ssh.KnownHosts)))
	return g
}

// settled is a ground where as many versions were deployed as are retained: the
// next one does all that there is to do, and what it leaves is what every
// later one leaves.
func settled(t *testing.T, i *images, how setting) *ground {
	t.Helper()
	g := newGround(t, i, how)
	for range 2 {
		g.next()
		if code, text := g.run(nil, g.command("deploy")...); code != exit.OK {
			t.Fatalf("deploy %s: exit code %d\n%s", g.name(), code, text)
		}
	}
	return g
}

// next makes the next version the one to deploy.
func (g *ground) next() {
	g.latest++
	g.aim(g.latest)
}

// aim makes a version the one that is to serve.
func (g *ground) aim(version int) {
	g.version = version
	g.env["TOKEN"] = secretMark + "-" + g.name()
}

func (g *ground) name() string { return versionName(g.version) }

// versionName is one that stands for nothing else in what a run leaves.
func versionName(n int) string { return fmt.Sprintf("v%04d", n) }

// command is a stage's, with the flags that the first one of a release takes.
func (g *ground) command(stage string) []string {
	if s, ok := scenarios()[stage]; ok {
		return s.command(g)
	}
	if stage != "push" && stage != "deploy" {
		return []string{stage}
	}
	return []string{stage, "--image", g.images.get(g.world, g.name()), "--version", g.name()}
}

// run runs the real command line in this process, with a fault if there is an
// injector, and returns all that it said.
func (g *ground) run(i *fault.Injector, args ...string) (exit.Code, string) {
	ctx, end := context.WithCancelCause(g.t.Context())
	defer end(nil)
	var out bytes.Buffer
	p := &program{
		filesTransport: host.FilesShell, // These hosts are near.
		env:            func(name string) (string, bool) { v, ok := g.env[name]; return v, ok },
		stdout:         &out, stderr: &out, around: g.count,
	}
	args = append(args, "--config", filepath.Join(g.dir, "kstep.yml"), "--state-dir", g.stateDir())
	if i == nil {
		code := p.run(ctx, args)
		g.said.Write(out.Bytes())
		return code, out.String()
	}
	var dying sync.Mutex // It may die in a connection that the run no longer waits for.
	left := func() {}
	i.End = end
	i.Die = func() {
		dying.Lock()
		defer dying.Unlock()
		left = g.die(end)
	}
	p.around = i.Around
	code := p.run(ctx, args)
	dying.Lock()
	left()
	dying.Unlock()
	g.said.Write(out.Bytes())
	return code, out.String()
}

// rival is another pipeline of the same service, on a runner of its own, with
// the next version.
func (g *ground) rival() *ground {
	g.t.Helper()
	config, err := os.ReadFile(filepath.Join(g.dir, "kstep.yml"))
	if err != nil {
		g.t.Fatal(err)
	}
	r := &ground{images: g.images, version: g.version, latest: g.latest, world: &world{
		t: g.t, dir: g.t.TempDir(), hosts: g.hosts, registry: g.registry, env: maps.Clone(g.env), programs: g.programs,
	}}
	r.write("kstep.yml", string(config))
	r.next()
	return r
}

// die is what SIGKILL does to a process that must live on for the test: its
// connections break, and what is in the state folder stays as it is. The
// result puts that back when the run is over.
func (g *ground) die(end context.CancelCauseFunc) func() {
	before := snapshotDir(g.t, g.stateDir())
	end(exit.Errorf(exit.Internal, "killed"))
	for _, fake := range g.hosts {
		fake.Sever()
	}
	return func() { restoreDir(g.t, g.stateDir(), before) }
}

func (g *ground) stateDir() string { return filepath.Join(g.dir, "kstep-state") }

func snapshotDir(t *testing.T, dir string) map[string][]byte {
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Error(err)
		}
		files[e.Name()] = data
	}
	return files
}

func restoreDir(t *testing.T, dir string, files map[string][]byte) {
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Error(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// users send requests to the web hosts, one after another, and count.
type users struct {
	stop         context.CancelFunc
	done         sync.WaitGroup
	sent, failed atomic.Int64
	mu           sync.Mutex
	first        string // What the first failure looked like.
}

// userPause keeps the users from taking the processors from what they watch.
const userPause = 25 * time.Millisecond

func (g *ground) users() *users {
	ctx, stop := context.WithCancel(context.Background())
	u := &users{stop: stop}
	for _, name := range []string{"vm1", "vm2"} {
		fake := g.hosts[name]
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return fake.Dial(80) },
		}}
		u.done.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				u.sent.Add(1)
				if err := ask(client, name); err != nil {
					u.failed.Add(1)
					u.mu.Lock()
					if u.first == "" {
						u.first = fmt.Sprintf("%s: %v", name, err)
					}
					u.mu.Unlock()
				}
				time.Sleep(userPause)
			}
		})
	}
	return u
}

func ask(client *http.Client, name string) error {
	resp, err := client.Get("http://" + name + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "version v")) {
		err = fmt.Errorf("%s %q", resp.Status, body)
	}
	return err
}

// leave ends the requests and waits for the last answers.
func (u *users) leave() {
	u.stop()
	u.done.Wait()
}
