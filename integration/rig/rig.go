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
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
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
	// RegistryURL is Registry as the machine outside reaches it.
	RegistryURL = "http://172.30.99.21:5000"
	// TraefikImage is the proxy's image in Registry.
	TraefikImage = Registry + "/traefik:v3.6"
	// LoadBalancerURL is nginx over vm1 and vm2; it passes every failure on.
	LoadBalancerURL = "http://172.30.99.20"
	// SmallDir is a tmpfs of 128 KiB on each host, for tests of a full disk.
	SmallDir = "/small"

	// subnet holds all of the rig's addresses.
	subnet = "172.30.99.0/24"
)

// Rig is the running set of containers.
type Rig struct {
	// Deployer is where kstep runs.
	Deployer *Deployer
	// Hosts are vm1 and vm2 (web, behind the load balancer) and vm3 (worker).
	Hosts []*Host

	dir string
}

// brought is the rig of this process, once it is up.
//
//nolint:gochecknoglobals // tests of one process share the one rig of the machine
var brought struct {
	sync.Mutex
	rig *Rig
}

// Up brings the rig up, or finds it up, by the script of that name, which prints
// its progress on stderr. Later calls in the same process return the same rig.
func Up(ctx context.Context) (*Rig, error) {
	brought.Lock()
	defer brought.Unlock()
	if brought.rig != nil {
		return brought.rig, nil
	}
	dir, err := sourceDir()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "up"))
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("rig/up: %w", err)
	}
	brought.rig = &Rig{
		Deployer: &Deployer{dir: filepath.Join(dir, ".work")},
		Hosts: []*Host{
			newHost("vm1", "172.30.99.11"),
			newHost("vm2", "172.30.99.12"),
			newHost("vm3", "172.30.99.13"),
		},
		dir: dir,
	}
	return brought.rig, nil
}

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
