package hosttest

import (
	"context"
	"os"
	"path"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/engine"
)

// exits143 is a program that ends with status 143 at a stop signal, as a JVM
// does.
func exits143() []string {
	return []string{"sh", "-c", "trap 'exit 143' TERM; while :; do sleep 0.1; done"}
}

// policies changes restart policies, in all states of a container.
func (s suite) policies() {
	spec := s.spec()
	spec.Restart = "always"
	id := s.create(spec)
	for _, change := range []func(){func() {}, func() { must(s, s.e.Start(s.Context(), id)) }, func() { must(s, s.e.Stop(s.Context(), id, engine.Stop{})) }} {
		change()
		for _, policy := range []string{"no", "on-failure:3", "on-failure", "unless-stopped", "always"} {
			for range 2 {
				must(s, s.e.SetRestart(s.Context(), id, policy))
			}
			if c := s.inspect(id); c.Restart != policy {
				s.Errorf("%s container: got policy %s, want %s", c.State, c.Restart, policy)
			}
		}
	}
	for _, policy := range []string{"sometimes", "no:3", "always:1"} {
		if err := s.e.SetRestart(s.Context(), id, policy); err == nil || !strings.Contains(err.Error(), s.h.Name()) {
			s.Errorf("policy %s: got %v, want a refusal that names the host", policy, err)
		}
	}
	if c := s.inspect(id); c.Restart != "always" || c.State != "exited" {
		s.Errorf("after refused policies: got %s, %s", c.State, c.Restart)
	}
}

// policyInForce is the one that a container has when it ends.
func (s suite) policyInForce() {
	for _, change := range []string{"no always", "always no"} {
		before, after, _ := strings.Cut(change, " ")
		spec := s.spec()
		end := path.Join(os.TempDir(), spec.Name) // On a fake host the program runs on this machine.
		s.Cleanup(func() { os.Remove(end) })
		spec.Restart, spec.Cmd = before, []string{"sh", "-c", "until [ -e " + end + " ]; do sleep 0.1; done; exit 3"}
		id := s.run(spec)
		must(s, s.e.SetRestart(s.Context(), id, after))
		_, _, err := s.e.Exec(s.Context(), id, []string{"sh", "-c", "mkdir -p " + path.Dir(end) + "; >" + end})
		must(s, err)
		must(s, s.e.WaitFor(s.Context(), id, func(c engine.Container) (bool, error) {
			return c.Restarts > 0 || c.State == "exited", nil
		}))
		if c := s.inspect(id); (c.Restarts > 0) != (after == "always") {
			s.Errorf("%s: got %s with %d restarts", change, c.State, c.Restarts)
		}
	}
}

// engineRestarts sees which containers an engine starts when it restarts.
func (s suite) engineRestarts() {
	if s.restart == nil {
		return // Not an engine of the test's own.
	}
	type restartCase struct {
		policy, then string
		cmd          []string
		stop, runs   bool
	}
	wanted := map[string]restartCase{}
	for name, c := range map[string]restartCase{
		"always, running":                          {policy: "always", runs: true},
		"always, stopped":                          {policy: "always", stop: true, runs: true},
		"always, stopped and set to no":            {policy: "always", stop: true, then: "no"},
		"unless-stopped, running":                  {policy: "unless-stopped", runs: true},
		"unless-stopped, stopped":                  {policy: "unless-stopped", stop: true},
		"unless-stopped, stopped and set to no":    {policy: "unless-stopped", stop: true, then: "no"},
		"on-failure, running":                      {policy: "on-failure:3", cmd: exits143(), runs: true},
		"on-failure, ended with 143":               {policy: "on-failure:3", cmd: exits143(), stop: true, runs: true},
		"on-failure, ended with 143 and set to no": {policy: "on-failure:3", cmd: exits143(), stop: true, then: "no"},
		"no, set to always once stopped":           {policy: "no", stop: true, then: "always", runs: true},
		"no, running":                              {policy: "no"},
	} {
		spec := s.spec()
		spec.Restart, spec.Cmd = c.policy, c.cmd
		spec.Labels["kstep.case"] = name
		id := s.run(spec)
		if c.stop {
			must(s, s.e.Stop(s.Context(), id, engine.Stop{}))
		}
		if c.then != "" {
			must(s, s.e.SetRestart(s.Context(), id, c.then))
		}
		wanted[id] = c
	}
	never := s.spec()
	never.Restart = "always"
	wanted[s.create(never)] = restartCase{policy: "always, never started"}
	must(s, s.restart(s.Context()))
	// The engine answers before it has started them all.
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	for id, c := range wanted {
		if c.runs {
			must(s, s.e.WaitFor(ctx, id, func(c engine.Container) (bool, error) { return c.Running(), nil }))
		}
	}
	for id, c := range wanted {
		if now := s.inspect(id); now.Running() != c.runs {
			s.Errorf("%s (%s): it is %s, want running: %t", now.Labels["kstep.case"], c.policy, now.State, c.runs)
		}
	}
}
