// Package rig gives the integration tests, the demo and the benchmarks real
// hosts: the containers of compose.yml, each host with its own sshd and Docker
// engine. It starts them, looks into them, breaks them, and sends requests
// through them. It knows nothing of kstep beyond the folder where kstep keeps
// its files; what kstep does is judged by tests from outside.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Registry is the registry as hosts and deployer name it: plain HTTP, no login.
	Registry = "registry:5000"
	// AuthRegistry serves the same images to RegistryUser only.
	AuthRegistry = "registry:5001"
	// RegistryUser may log in to AuthRegistry.
	RegistryUser = "kstep"
	// RegistryPassword is RegistryUser's.
	RegistryPassword = "rig-password"
	// TraefikImage is the proxy's image in Registry.
	TraefikImage = Registry + "/traefik:v3.6"
	// SmallDir is a tmpfs of 128 KiB on each host, for tests of a full disk.
	SmallDir = "/small"

	// subnets holds the addresses of all rigs.
	subnets = "172.30.96.0/22"
)

// Rig is the running set of containers.
type Rig struct {
	// Deployer is where kstep runs.
	Deployer *Deployer
	// Hosts are vm1 and vm2 (web, behind the load balancer) and vm3 (worker).
	Hosts []*Host

	dir  string
	net  string // The first three numbers of its addresses.
	port string // Of the registry, on loopback.
}

// rigs are those of this process, once they are up.
//
//nolint:gochecknoglobals // tests of one process share the rigs of the machine
var rigs struct {
	sync.Mutex
	all  []*Rig
	free chan *Rig
}

// Up brings the rig up, or finds it up, by the script of that name, which prints
// its progress on stderr. Later calls in the same process return the same rig.
func Up(ctx context.Context) (*Rig, error) {
	if err := up(ctx, 1); err != nil {
		return nil, err
	}
	return rigs.all[0], nil
}

// Several is how many rigs tests share by Take. One of them keeps two processors
// busy most of the time; the second uses what it leaves while it waits for
// something. With a third, tests only wait for each other, and miss deadlines.
const Several = 2

// Take waits for one of several rigs that is free in this process. The returned
// function gives it back.
func Take(ctx context.Context) (*Rig, func(), error) {
	if err := up(ctx, Several); err != nil {
		return nil, nil, err
	}
	select {
	case r := <-rigs.free:
		return r, func() { rigs.free <- r }, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// up brings that many rigs up, once.
func up(ctx context.Context, n int) error {
	rigs.Lock()
	defer rigs.Unlock()
	if rigs.all != nil {
		return nil
	}
	dir, err := sourceDir()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "up"), strconv.Itoa(n))
	var said lockedBuffer
	cmd.Stdout = io.MultiWriter(os.Stderr, &said)
	cmd.Stderr = cmd.Stdout
	cmd.WaitDelay = 10 * time.Second // For an engine that it has started.
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("rig/up: %w; its last lines:\n%s", err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	rigs.free = make(chan *Rig, n)
	for number := 1; number <= n; number++ {
		r := newRig(dir, number)
		rigs.all = append(rigs.all, r)
		rigs.free <- r
	}
	return nil
}

// newRig knows how `up` and compose.yml name things.
func newRig(dir string, number int) *Rig {
	suffix := ""
	if number > 1 {
		suffix = "-" + strconv.Itoa(number)
	}
	r := &Rig{
		Deployer: &Deployer{dir: filepath.Join(dir, ".work"+suffix), container: "kstep-rig" + suffix + "-deployer-1"},
		dir:      dir,
		net:      fmt.Sprintf("172.30.%d", 100-number),
		port:     strconv.Itoa(25499 + number),
	}
	for i, name := range []string{"vm1", "vm2", "vm3"} {
		r.Hosts = append(r.Hosts, newHost("kstep-rig"+suffix, name, fmt.Sprintf("%s.%d", r.net, 11+i)))
	}
	return r
}

// LoadBalancerURL is nginx over vm1 and vm2; it passes every failure on.
func (r *Rig) LoadBalancerURL() string { return "http://" + r.net + ".20" }

// LoadBalancerContainer is the name of its container in the engine outside,
// which the deployer may use too.
func (r *Rig) LoadBalancerContainer() string { return r.Hosts[0].project + "-load_balancer-1" }

// RegistryAddress is Registry as the machine outside reaches it.
func (r *Rig) RegistryAddress() string { return r.net + ".21:5000" }

// LocalRegistry is Registry as the engine outside may push to it: an engine
// trusts plain HTTP on loopback only.
func (r *Rig) LocalRegistry() string { return "127.0.0.1:" + r.port }

// sourceDir is where this file and the scripts beside it lie. A test runs with
// its own folder as the working directory, so a relative path would not do, and
// -trimpath takes the path away that the compiler otherwise leaves.
func sourceDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Dir(file)
	if !filepath.IsAbs(dir) {
		return "", errors.New("rig: built with -trimpath: cannot find its scripts")
	}
	return dir, nil
}

// Host returns the host of that name, and panics when there is none: the name is
// a constant in a test.
func (r *Rig) Host(name string) *Host {
	for _, h := range r.Hosts {
		if h.Name == name {
			return h
		}
	}
	panic("rig: no host " + name)
}

// Reset takes all hosts back to how they were before the first deploy, without
// restarting their engines, and leaves the registry as it is. The proxy's image
// stays on the hosts.
func (r *Rig) Reset(ctx context.Context) error {
	return r.each(func(h *Host) error { return h.reset(ctx) })
}

// each calls f for all hosts at once and joins their errors.
func (r *Rig) each(f func(*Host) error) error {
	errs := make([]error, len(r.Hosts))
	var wg sync.WaitGroup
	for i, h := range r.Hosts {
		wg.Go(func() {
			if err := f(h); err != nil {
				errs[i] = fmt.Errorf("%s: %w", h.Name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
