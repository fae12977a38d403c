package main

import (
	"context"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/scaffold"
)

// configureInit declares `kstep init`.
func configureInit(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("init", "Write a kstep.yml for the application in this folder. On a terminal, it prompts for what no flag has. It overwrites nothing.")
	var o scaffold.Options
	var hosts []string
	cmd.Flag("host", "A server, as [user@]address[:port] (by comma or repeated).").StringsVar(&hosts)
	cmd.Flag("service", "The service's name. Default: the folder's.").StringVar(&o.Service)
	cmd.Flag("image", "The image's repository in a registry, such as ghcr.io/acme/shop. Default: no registry; the image goes to the servers through SSH.").StringVar(&o.Image)
	cmd.Flag("domain", "The domain of the service. With one server, it is served by HTTPS.").StringVar(&o.Domain)
	cmd.Flag("port", "The port in the container. Default: EXPOSE in the Dockerfile, or the framework's.").IntVar(&o.Port)
	cmd.Flag("framework", "The framework, where it is not recognised: "+strings.Join(scaffold.Frameworks(), ", ")+".").EnumVar(&o.Framework, scaffold.Frameworks()...)
	cmd.Flag("hooks", "Also write sample hooks to .kstep/hooks.").BoolVar(&o.Hooks)
	cmd.Flag("dockerfile", "Also write a Dockerfile for the framework.").BoolVar(&o.Dockerfile)
	actions["init"] = func(ctx context.Context) error {
		o.Path, o.Hosts = p.global.config, list(hosts)
		if p.isInteractive() {
			if err := scaffold.Prompt(ctx, &o, p.stdin, p.stdout); err != nil {
				return err
			}
		}
		summary, err := scaffold.Init(o)
		for _, r := range summary.Results {
			p.result("%s %s", r.Action, r.Path)
		}
		if err != nil {
			return err
		}
		p.result("\n%s\n\nnext:", summary.App.Sentence())
		for _, step := range summary.Next {
			p.result("- %s", step)
		}
		return nil
	}
}

// isInteractive reports whether questions can be shown and answered.
func (p *program) isInteractive() bool {
	keys, isFile := p.stdin.(*os.File)
	screen, isFileToo := p.stdout.(*os.File)
	return isFile && isFileToo && report.IsTerminal(keys) && report.IsTerminal(screen)
}
