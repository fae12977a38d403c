package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/remove"
)

// configureRemove declares `kstep remove`: the end of a service, or of a host.
func configureRemove(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("remove", "Take the service off its hosts: containers, routes, images, environments, assets and what kstep remembers of releases. Accessories, the proxy and the audit log stay.")
	yes := cmd.Flag("yes", "Do it; without it nothing is removed.").Short('y').Bool()
	actions["remove"] = p.inSession("remove", func(ctx context.Context, s *stages.Session) error {
		if len(s.Roles) > 0 {
			return exit.With(exit.Usage, fmt.Errorf("--roles: a service is removed from a host as a whole"), "choose hosts with --hosts")
		}
		targets, err := plan.Filter(plan.Targets(s.Config), nil, s.HostGlobs)
		if err != nil {
			return err
		}
		if !*yes {
			return wantsYes("%s from %s, and nothing could be rolled back to there", serviceName(s), strings.Join(plan.HostNames(targets), ", "))
		}
		return stages.Outside(ctx, s, "remove", remove.Run)
	})
}

// wantsYes refuses to remove what nobody has confirmed, and tells what that is.
func wantsYes(format string, args ...any) error {
	return exit.With(exit.Usage, fmt.Errorf("nothing was removed: this would remove "+format, args...), "add --yes to do it")
}

// serviceName is the service, with its destination if it has one.
func serviceName(s *stages.Session) string {
	if s.Config.Destination == "" {
		return s.Config.Service
	}
	return s.Config.Service + " (" + s.Config.Destination + ")"
}
