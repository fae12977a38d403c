package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/state"
)

// configureState declares `kstep state …`. It needs no configuration: a person
// looks at files that CI left.
func configureState(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("state", "The state files.")
	cmd.Command("show", "Show what the stages left.")
	cmd.Command("verify", "Check every state file and the chain of their digests.")
	actions["state show"] = func(context.Context) error {
		dir, err := p.stateDir(nil, nil)
		if err != nil {
			return err
		}
		if p.global.output == "json" {
			return state.ShowJSON(p.out, dir.Inspect())
		}
		return state.Show(p.out, dir.Inspect())
	}
	actions["state verify"] = func(context.Context) error {
		dir, err := p.stateDir(nil, nil)
		if err != nil {
			return err
		}
		return dir.Verify(p.out, p.expected())
	}
}

// expected is the service whose state it should be, or any service without a
// configuration.
func (p *program) expected() state.Expect {
	cfg, err := p.loadConfig()
	if err != nil {
		return state.Expect{}
	}
	return state.Expect{Service: cfg.Service, Destination: cfg.Destination}
}
