package main

import (
	"context"
	"errors"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/secret"
)

// configureSecrets declares `kstep secrets …`.
func configureSecrets(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("secrets", "The secrets that the configuration names.")
	list := cmd.Command("list", "Show every secret, what needs it, where it would come from, and whether it is there; never its value.")
	check := list.Flag("check", "Also run the commands that print secrets, and fail if one is missing or empty.").Bool()
	actions["secrets list"] = func(ctx context.Context) error { return p.secretsList(ctx, *check) }
}

// secretStatus is an entry of `kstep secrets list --output json`.
type secretStatus struct {
	Name   string   `json:"name"`
	UsedBy []string `json:"usedBy"`
	Source string   `json:"source,omitempty"`
	// State is `there`, `empty`, `missing`, `failed`, or `not checked` for a
	// command that did not run.
	State string `json:"state"`

	err error
}

func (p *program) secretsList(ctx context.Context, check bool) error {
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	secrets := p.secretStore(ctx, cfg)
	all := []secretStatus{}
	for _, use := range cfg.SecretNames() {
		all = append(all, lookAt(cfg, secrets, use, check))
	}
	if err := p.printSecrets(all); err != nil {
		return err
	}
	if !check {
		return nil
	}
	var errs []error
	for _, one := range all {
		errs = append(errs, one.err)
	}
	return errors.Join(errs...)
}

// lookAt returns the status of one secret. It runs commands only with run.
func lookAt(cfg *config.Config, secrets *secret.Store, use config.SecretUse, run bool) secretStatus {
	one := secretStatus{Name: use.Name, UsedBy: use.Where, State: "there"}
	var opts []secret.Option
	if !run {
		opts = append(opts, secret.OnHand)
	}
	one.Source, one.err = secrets.Look(use.Name, opts...)
	argv := cfg.Secrets.Commands[use.Name]
	switch missing := errors.Is(one.err, secret.ErrMissing); {
	case missing && len(argv) > 0: // It has a command, which was not run.
		one.Source, one.State, one.err = "command "+argv[0], "not checked", nil
	case missing:
		one.State = "missing"
	case errors.Is(one.err, secret.ErrEmpty):
		one.State = "empty"
	case one.err != nil:
		one.State = "failed"
	}
	if one.Source == secret.FromCommand {
		one.Source = "command " + argv[0]
	}
	return one
}

func (p *program) printSecrets(all []secretStatus) error {
	if p.global.output == "json" {
		return p.encode(map[string]any{"secrets": all})
	}
	if len(all) == 0 {
		p.result("the configuration names no secret")
		return nil
	}
	t := p.table("SECRET", "STATE", "FROM", "USED BY")
	for _, one := range all {
		t.row(one.Name, one.State, one.Source, strings.Join(one.UsedBy, ", "))
	}
	return t.end()
}
