package plan

import (
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/runopt"
)

func TestRisks_NameWhatReachesBeyondTheContainer(t *testing.T) {
	t.Parallel()
	const run = "/root/.kstep"
	for name, c := range map[string]struct {
		spec engine.Spec
		want []string
	}{
		"an ordinary one": {engine.Spec{
			Options: runopt.Options{CapDrop: runopt.Texts{"ALL"}, ReadOnly: true, PID: "private", Memory: 1 << 30},
			Mounts:  []engine.Mount{{Source: "cache", Target: "/cache"}, {Source: run + "/shop/assets/x", Target: "/assets"}},
		}, nil},
		"all rights":      {engine.Spec{Options: runopt.Options{Privileged: true}}, []string{"privileged: it has all rights on the host"}},
		"namespaces":      {engine.Spec{Options: runopt.Options{PID: "host", IPC: "container:db"}}, []string{"shares the host's processes (pid)", "shares shared memory (ipc) with container:db"}},
		"a capability":    {engine.Spec{Options: runopt.Options{CapAdd: runopt.Texts{"NET_ADMIN"}}}, []string{"gets the capability NET_ADMIN"}},
		"without seccomp": {engine.Spec{Options: runopt.Options{SecurityOpt: runopt.Texts{"seccomp=unconfined"}}}, []string{"security option seccomp=unconfined"}},
		"the host's files": {engine.Spec{Mounts: []engine.Mount{{Source: "/", Target: "/host"}, {Source: "/etc", Target: "/e", ReadOnly: true}}},
			[]string{"reads and writes / of the host", "reads /etc of the host"}},
		"a detour around kstep's folder": {engine.Spec{Mounts: []engine.Mount{{Source: run + "/../secrets", Target: "/s", ReadOnly: true}}},
			[]string{"reads " + run + "/../secrets of the host"}},
		"the engine's socket": {engine.Spec{Mounts: []engine.Mount{{Source: "/var/run/docker.sock", Target: "/var/run/docker.sock", ReadOnly: true}}},
			[]string{"reads /var/run/docker.sock of the host"}},
	} {
		if got := Risks(c.spec, run); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
