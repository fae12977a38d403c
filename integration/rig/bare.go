package rig

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Bare is a host as providers hand them out: an SSH server, a package manager
// that reaches its mirror, and no engine. The deployer calls it `bare`.
type Bare struct {
	// Addr is its address, KnownHosts its line for known_hosts.
	Addr, KnownHosts string

	container string
}

// bareService makes one of what vm1 to vm3 are made of. The engine's start
// script stays, without the limits that a container may not raise.
const bareService = `set -eu
install -d -m 0755 /run/sshd
ssh-keygen -q -t ed25519 -N "" -f /run/sshd/ssh_host_ed25519_key
install -m 0644 /shared/id_ed25519.pub /run/sshd/authorized_keys
if ! iptables -t nat -L -n >/dev/null 2>&1; then
    update-alternatives --set iptables /usr/sbin/iptables-legacy
    update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
fi
sed -i '/ulimit/s/.*/:/' /etc/init.d/docker
DEBIAN_FRONTEND=noninteractive apt-get -qq -y remove docker.io containerd runc
touch /run/bare
exec /usr/sbin/sshd -D -e`

// StartBare adds a bare host to the rig, in place of an older one. Stop removes
// it.
func (r *Rig) StartBare(ctx context.Context) (*Bare, error) {
	project := strings.TrimSuffix(r.Deployer.container, "-deployer-1")
	b := &Bare{container: project + "-bare"}
	if err := b.Stop(ctx); err != nil {
		return nil, err
	}
	_, err := docker(ctx, "run", "--detach", "--name", b.container, "--hostname", "bare",
		"--network", project+"_rig", "--network-alias", "bare", "--ip", r.net+".19",
		"--volume", project+"_shared:/shared:ro", "--volume", "/var/lib/docker", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup",
		"--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--cgroupns", "host", "--device-cgroup-rule", "a *:* rwm", "--tmpfs", "/run:exec",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined",
		"kstep-rig-host", "bash", "-c", bareService)
	if err != nil {
		return nil, err
	}
	b.Addr = r.net + ".19"
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err = b.Exec(ctx, "test", "-e", "/run/bare"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the bare host is not there: %w", err)
		}
	}
	key, err := b.Exec(ctx, "cat", "/run/sshd/ssh_host_ed25519_key.pub")
	b.KnownHosts = "bare " + key
	return b, err
}

// Exec runs a command as root on the host, and returns its stdout.
func (b *Bare) Exec(ctx context.Context, argv ...string) (string, error) {
	return docker(ctx, append([]string{"exec", b.container}, argv...)...)
}

// Stop removes the host with all that is on it.
func (b *Bare) Stop(ctx context.Context) error {
	_, err := docker(ctx, "rm", "--force", "--volumes", b.container)
	if err != nil && strings.Contains(err.Error(), "No such container") {
		return nil
	}
	return err
}
