//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
)

// engineSettings is a docker-setup hook: without these settings the engine could
// not pull from the rig's registry. It also notes how many containers there are.
const engineSettings = `#!/bin/sh
set -eu
ssh -o UserKnownHostsFile=known_hosts "root@$KSTEP_HOSTS" '
set -eu
docker ps --all --quiet | wc -l >>/root/containers-at-setup
mkdir -p /etc/docker
cat >/etc/docker/daemon.json
/etc/init.d/docker restart' <<'JSON'
{"insecure-registries": ["registry:5000"], "bip": "10.203.0.1/24", "default-address-pools": [{"base": "10.204.0.0/16", "size": 24}]}
JSON
`

// The packages come from the distribution's mirror.
func TestSetup_MakesAHostWithoutAnEngineServe(t *testing.T) {
	t.Parallel()
	s := settings{}
	yaml := strings.Replace(s.yaml(), "  web: [vm1, vm2]\n  job:\n    hosts: [vm3]\n    cmd: /app/bin work\n    healthcheck: {settle: 1s}\n", "  web: [bare]\n", 1) +
		"ssh: {known_hosts: known_hosts}\n"
	w := begin(t, s)
	bare, err := w.rig.StartBare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bare.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	v := s.version("v1", "")
	v.Files["kstep.yml"], v.Files["known_hosts"], v.Files[".kstep/hooks/docker-setup"] = yaml, bare.KnownHosts, engineSettings
	v.Files["kstep.user.yml"] = "ssh: {user: nodocker}\n"
	w.commit(v)

	r := w.exits(10, "-d", "user", "server", "bootstrap")
	if !strings.Contains(r.Stderr, "install the engine on bare: this needs root, or sudo without a password") {
		t.Errorf("a user without rights is told:\n%s", r.Stderr)
	}
	w.readable(r, nil)

	r = w.must("setup")
	t.Logf("kstep setup\n%s", r.Stderr)
	if status, body := w.get("http://" + bare.Addr + "/"); status != 200 || !strings.HasPrefix(body, "version v1 ") {
		t.Errorf("it answers %d %q, want version v1", status, body)
	}
	r = w.must("server", "bootstrap")
	if strings.Contains(r.Stderr, "installed") {
		t.Errorf("run again it installs again:\n%s", r.Stderr)
	}
	if counts, err := bare.Exec(t.Context(), "cat", "/root/containers-at-setup"); err != nil || counts != "0\n2\n" {
		t.Errorf("docker-setup saw %q containers (%v), want none the first time, two the second", counts, err)
	}
}
