package stages

import (
	"fmt"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/state"
)

// secretNames refuses secrets that are the names of what is deployed. Names stand
// in every log, in labels and state files: masked they would reveal the value,
// and a state file that holds one is not written.
func (s *Session) secretNames() error {
	if s.Secrets == nil {
		return nil
	}
	names := s.names()
	for _, one := range names {
		if name, found := s.Secrets.Named(one.text); found {
			return exit.With(exit.Config,
				fmt.Errorf("the value of secret %s is the name of %s, or part of it; names stand in logs, labels and state files", name, one.kind),
				"give "+name+" another value, or, if it is not confidential, as a clear value under env.clear")
		}
	}
	return nil
}

// named is a text that stands in state files.
type named struct{ kind, text string }

// names are all texts that are known to stand in state files and plans before anything
// is done, apart from what hosts and registries make of them.
func (s *Session) names() []named {
	cfg := s.Config
	names := []named{
		{"the service", cfg.Service}, {"the destination", cfg.Destination},
		{"the image", cfg.Image}, {"the image's repository", cfg.Repository()},
		{"the version", s.Version}, {"the run directory", cfg.RunDirectory}, {"the SSH user", cfg.SSH.User},
		{"the actor", s.By}, {"the actor", s.Actor.User}, {"the CI run", s.Actor.Run}, {"the CI run", s.Actor.RunURL},
	}
	if s.Version != "" { // Which the tag may be.
		names = append(names, named{"the image of --image", s.Options.Image})
	}
	made := plan.Names{Service: cfg.Service, Destination: cfg.Destination}
	names = append(names, named{"a network", made.Network()})
	for _, t := range everywhere(s) {
		names = append(names, named{"a role or accessory", t.Role.Name}, named{"a host", t.Host})
		for number := 1; t.Role.Name != "" && number <= max(1, t.Role.Replicas); number++ {
			names = append(names, named{"a container", made.Replica(t.Role.Name, s.Version, number)})
		}
		for _, network := range cfg.EffectiveNetworks(t.Role) {
			names = append(names, named{"a network", network})
		}
		for _, path := range cfg.EffectiveAssetPaths(t.Role) {
			names = append(names, named{"an asset folder", path})
		}
	}
	for _, a := range cfg.Accessories.All {
		names = append(names, named{"an accessory", made.Accessory(a)})
	}
	for _, task := range cfg.Tasks.All {
		names = append(names, named{"a task", made.Task(task.Name, s.Version)})
	}
	hidden, plain := cfg.EnvNames()
	for _, all := range []map[string]bool{hidden, plain} {
		for name := range all {
			names = append(names, scanned("a variable", name)...)
		}
	}
	for _, stage := range s.Pipeline {
		names = append(names, named{"a stage", stage.Info().Name})
	}
	for _, word := range state.Words() {
		names = append(names, scanned("a field or fixed value of state files", word)...)
	}
	return names
}

// scanned is a text that a secret may be if no state file is refused for it: a short one
// says nothing about what is deployed.
func scanned(kind, text string) []named {
	if len(text) < secret.MinScanned {
		return nil
	}
	return []named{{kind, text}}
}

// everywhere is all roles and accessories on all their hosts.
func everywhere(s *Session) []plan.Target {
	return append(plan.Targets(s.Config), plan.Accessories(s.Config)...)
}
