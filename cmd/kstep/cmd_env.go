package main

import (
	"context"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
	"github.com/kstep/kstep/stages/envpush"
)

// configureEnv declares `kstep env …`: the environments on the hosts, outside
// of a release.
func configureEnv(p *program, app *kingpin.Application, actions map[string]action) {
	cmd := app.Command("env", "Manage environment files on the hosts.")
	cmd.Command("push", "Write the environment of every role and accessory to its hosts; the next deploy or `accessory reboot` uses it. Needs no state, and waits for no release.")
	actions["env push"] = p.inSession("env push", envPush)
	cmd.Command("delete", "Remove this service's environments from the hosts. Containers keep what they were made with.")
	actions["env delete"] = p.inSession("env delete", func(ctx context.Context, s *stages.Session) error {
		return stages.OutsideOn(ctx, s, "env delete", everything(s), func(ctx context.Context, in stages.Input) ([]state.Target, error) {
			return envpush.Delete(ctx, in, len(s.Roles) > 0)
		})
	})
}

func envPush(ctx context.Context, s *stages.Session) error {
	return stages.OutsideOn(ctx, s, "env push", everything(s), func(ctx context.Context, in stages.Input) ([]state.Target, error) {
		records, _, err := envpush.Push(ctx, in)
		return records, err
	})
}

// everything is all roles and accessories on all their hosts.
func everything(s *stages.Session) []plan.Target {
	return slices.Concat(plan.Targets(s.Config), plan.Accessories(s.Config))
}
