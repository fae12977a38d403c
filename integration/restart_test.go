//go:build integration

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// upOn are the names of the application's running containers on a host.
func (w *world) upOn(host string) []string {
	w.t.Helper()
	containers, err := w.rig.Host(host).Containers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	names := []string{}
	for _, c := range containers {
		if c.State.Running && c.Config.Labels["kstep.role"] != "" {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// outlivesRestart restarts a host's engine, and expects the same containers to
// run as before.
func (w *world) outlivesRestart(host string) {
	w.t.Helper()
	before := w.upOn(host)
	if err := w.rig.Host(host).RestartEngine(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.eventually(func() error {
		if diff := cmp.Diff(before, w.upOn(host)); diff != "" {
			return fmt.Errorf("after a restart of the engine other containers run on %s:\n%s", host, diff)
		}
		return nil
	})
}

func TestRestart_OfTheEngineBringsBackWhatServedAlone(t *testing.T) {
	t.Parallel()
	policy := "always"
	s := settings{}
	v := s.version("v1", "no-grace status=143")
	polices := func(policy string) {
		yaml := strings.Replace(s.yaml(), "web: [vm1, vm2]", fmt.Sprintf("web: {hosts: [vm1, vm2], options: {restart: %q}}", policy), 1)
		v.Files["kstep.yml"] = strings.Replace(yaml, "    cmd: /app/bin work\n", fmt.Sprintf("    cmd: /app/bin work\n    options: {restart: %q}\n", policy), 1)
	}
	polices(policy)
	w := beginWith(t, v)
	w.must("deploy")
	first := w.head()
	v.Version = "v2"
	w.commit(v)
	w.must("deploy")
	w.outlivesRestart("vm1")
	w.outlivesRestart("vm3")
	w.serves("v2")

	w.must("rollback", first) // Its own policy is in force again.
	w.serves("v1")
	for _, host := range []string{"vm1", "vm3"} {
		live := w.live(host)
		if err := w.rig.Host(host).KillContainerProcess(t.Context(), live.ID); err != nil {
			t.Fatal(err)
		}
		w.eventually(func() error {
			now, err := w.rig.Host(host).Container(t.Context(), live.ID)
			if err == nil && (!now.State.Running || now.RestartCount == 0) {
				err = fmt.Errorf("%s on %s is %s after its process was killed", now.Name, host, now.State.Status)
			}
			return err
		})
		w.outlivesRestart(host)
	}

	polices("on-failure:3") // The app ends with another status than 0.
	for _, version := range []string{"v3", "v4"} {
		v.Version = version
		w.commit(v)
		w.must("deploy")
	}
	w.outlivesRestart("vm1")
	w.outlivesRestart("vm3")
}
