package plan

import (
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/runopt"
)

func TestRisks_NameWhatReachesBeyondTheContainer(t *testing.T) {
	t.Parallel()
	options := func(o runopt.Options) engine.Spec { return engine.Spec{Options: o} }
	for name, c := range map[string]struct {
		spec    engine.Spec
		volumes []string
		want    []string
	}{
		"an ordinary one": {engine.Spec{
			Options: runopt.Options{CapDrop: runopt.Texts{"ALL"}, ReadOnly: true, PID: "private", Memory: 1 << 30},
			Mounts:  []engine.Mount{{Source: "/root/.kstep/shop/assets/x", Target: "/assets"}}, // kstep's own.
		}, nil, nil},
		"all rights":          {options(runopt.Options{Privileged: true}), nil, []string{"privileged: it has all rights on the host"}},
		"namespaces":          {options(runopt.Options{PID: "host", IPC: "container:db"}), nil, []string{"shares the host's processes (pid)", "shares shared memory (ipc) with container:db"}},
		"a capability":        {options(runopt.Options{CapAdd: runopt.Texts{"NET_ADMIN"}}), nil, []string{"gets the capability NET_ADMIN"}},
		"without seccomp":     {options(runopt.Options{SecurityOpt: runopt.Texts{"seccomp=unconfined"}}), nil, []string{"security option seccomp=unconfined"}},
		"another runtime":     {options(runopt.Options{Runtime: "runc-debug", GPUs: "all"}), nil, []string{"runs with the runtime runc-debug", "gets the graphics processors all"}},
		"a group":             {options(runopt.Options{GroupAdd: runopt.Texts{"docker"}}), nil, []string{"is in the group docker"}},
		"a kernel parameter":  {options(runopt.Options{Sysctl: map[string]string{"net.ipv4.ip_forward": "1"}}), nil, []string{"sets the kernel parameter net.ipv4.ip_forward to 1"}},
		"the host's files":    {engine.Spec{}, []string{"/:/host", "/etc:/e:ro"}, []string{"reads and writes / of the host", "reads /etc of the host"}},
		"kstep's own files":   {engine.Spec{}, []string{"/root/.kstep/payroll/env:/x:ro"}, []string{"reads /root/.kstep/payroll/env of the host"}},
		"a volume":            {engine.Spec{}, []string{"payroll-data:/data"}, []string{"reads and writes the volume payroll-data"}},
		"the engine's socket": {engine.Spec{}, []string{"/var/run/docker.sock:/var/run/docker.sock:ro"}, []string{"reads /var/run/docker.sock of the host"}},
	} {
		if got := Risks(c.spec, c.volumes); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
