package main

import (
	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/host"
)

// oneName refuses a configuration whose text shows that two host entries are one
// machine. What the text does not show, the machines do once they are connected.
func (p *program) oneName(cfg *config.Config) error {
	spelling := host.Spellings(cfg.SSH, p.getenv)
	first := map[string]string{} // By spelling.
	var twins []config.Twins
	for _, name := range cfg.EveryHost() {
		text, err := spelling(name)
		if err != nil {
			continue // The connection reports it.
		}
		if other, known := first[text]; known {
			twins = append(twins, config.Twins{One: other, Other: name, Why: "both lead to " + text})
			continue
		}
		first[text] = name
	}
	return cfg.OneMachine(twins...)
}
