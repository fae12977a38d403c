package main

import (
	"context"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/envify"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/stages"
)

// configureEnvify declares `kstep envify`.
func configureEnvify(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("envify", "Make .env (with -d: .env.<destination>) from its template .env.tmpl, and push it to the hosts.")
	skip := cmd.Flag("skip-push", "Only make the file.").Short('P').Bool()
	actions["envify"] = func(ctx context.Context) error {
		if err := p.envify(ctx); err != nil || *skip {
			return err
		}
		return p.withSession(ctx, "envify", "", stages.Options{}, envPush)
	}
}

func (p *program) envify(ctx context.Context) error {
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(cfg.Path), ".env")
	if cfg.Destination != "" {
		path += "." + cfg.Destination
	}
	variables, err := envify.Render(ctx, path+".tmpl", envify.Options{
		Env: p.env, Commands: secret.Commands{Dir: filepath.Dir(cfg.Path), Stderr: p.errOut},
	})
	if err != nil {
		return err
	}
	changed, err := envify.Write(path, path+".tmpl", variables)
	switch {
	case err != nil:
		return err
	case changed:
		p.result("wrote %s, with %d variables", path, len(variables))
	default:
		p.result("%s is unchanged", path)
	}
	return nil
}
