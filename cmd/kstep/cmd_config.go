package main

import (
	"context"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/schema"
)

// configureConfig declares `kstep config …`.
func configureConfig(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("config", "The configuration.")
	cmd.Command("validate", "Check the configuration, report every problem at once, and list the variables that are filled in outside of env.")
	cmd.Command("show", "Show the effective configuration: merged, interpolated, with defaults; secrets by name.")
	actions["config validate"] = func(context.Context) error {
		cfg, err := p.loadConfig()
		if err != nil {
			return err
		}
		p.result("%s is valid", cfg.Path)
		p.variables(cfg.Variables)
		return nil
	}
	actions["config show"] = func(context.Context) error {
		cfg, err := p.loadConfig()
		if err != nil {
			return err
		}
		text, err := cfg.Show()
		if err != nil {
			return err
		}
		_, err = p.out.Write(text)
		return err
	}
}

// variables lists where variables outside of environments are filled in, without
// their values: one that holds a secret would be in labels and state files.
func (p *program) variables(uses []config.VariableUse) {
	if len(uses) == 0 {
		return
	}
	p.result("variables of this machine that are filled in outside of env:")
	for _, use := range uses {
		p.result("  %s:%d: %s: %s", use.File, use.Line, use.Key, strings.Join(use.Names, ", "))
	}
}

// configureSchema declares `kstep schema …`.
func configureSchema(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("schema", "Print a JSON Schema.")
	which := cmd.Arg("which", "config (kstep.yml), state (the state files) or plan (a plan file).").Default("config").Enum("config", "state", "plan")
	actions["schema"] = func(context.Context) error {
		texts := map[string][]byte{"config": schema.Config, "state": schema.State, "plan": schema.Plan}
		_, err := p.out.Write(texts[*which])
		return err
	}
}
