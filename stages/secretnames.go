package stages

import (
	"fmt"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
)

// secretNames refuses secrets that are the names of what is deployed. Names stand
// in every log, in labels and state files: masked they would tell the value, and a
// state file that holds one is not written.
func (s *Session) secretNames() error {
	if s.Secrets == nil {
		return nil
	}
	type named struct{ kind, text string }
	names := []named{
		{"the service", s.Config.Service}, {"the destination", s.Config.Destination},
		{"the image", s.Config.Image}, {"the version", s.Version},
	}
	made := plan.Names{Service: s.Config.Service, Destination: s.Config.Destination}
	for _, t := range everywhere(s) {
		names = append(names, named{"a role or accessory", t.Role.Name}, named{"a host", t.Host})
		if t.Role.Name != "" {
			names = append(names, named{"a container", made.Container(t.Role.Name, s.Version)})
		}
	}
	for _, one := range names {
		if secret, found := s.Secrets.Named(one.text); found {
			return exit.With(exit.Config,
				fmt.Errorf("the value of secret %s is the name of %s, or part of it; names stand in logs, labels and state files", secret, one.kind),
				"give "+secret+" another value, or, if it is not confidential, as a clear value under env.clear")
		}
	}
	return nil
}

// everywhere is all roles and accessories on all their hosts.
func everywhere(s *Session) []plan.Target {
	return append(plan.Targets(s.Config), plan.Accessories(s.Config)...)
}
