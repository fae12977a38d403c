package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
	"github.com/kstep/kstep/stages"
)

// maxRetryAfter is a year, in seconds.
const maxRetryAfter = 365 * 24 * 60 * 60

// configureMaintenance declares `kstep app maintenance` and `kstep app live`.
func configureMaintenance(p *program, cmd *kingpin.CmdClause, actions map[string]action) {
	on := cmd.Command("maintenance", "Answer visitors with 503 on all hosts, until app live. The containers run on. A deploy keeps the maintenance, and a second call replaces its setting.")
	var want traffic.Maintenance
	on.Flag("allow", "An address, or a range such as 203.0.113.0/24, whose requests the application gets as before; repeatable.").StringsVar(&want.Allow)
	on.Flag("retry-after", "Seconds for the header Retry-After.").Default("300").IntVar(&want.RetryAfter)
	maintain := func(command string, setting *traffic.Maintenance) action {
		return p.inSession(command, func(ctx context.Context, s *stages.Session) error {
			return stages.Outside(ctx, s, command, func(ctx context.Context, in stages.Input) ([]state.Target, error) {
				return stages.Maintain(ctx, in, setting)
			})
		})
	}
	actions["app maintenance"] = func(ctx context.Context) error {
		if err := checkMaintenance(want); err != nil {
			return err
		}
		return maintain("app maintenance", &want)(ctx)
	}
	cmd.Command("live", "End the maintenance: visitors get the application again.")
	actions["app live"] = maintain("app live", nil)
}

func checkMaintenance(want traffic.Maintenance) error {
	for _, one := range want.Allow {
		address, err := netip.ParseAddr(one)
		if err == nil && address.Zone() == "" {
			continue
		}
		if _, err := netip.ParsePrefix(one); err != nil {
			return exit.With(exit.Usage, fmt.Errorf("--allow %q is neither an address nor a range", one), "write an address such as 203.0.113.7, or a range such as 203.0.113.0/24")
		}
	}
	if want.RetryAfter < 1 || want.RetryAfter > maxRetryAfter {
		return exit.With(exit.Usage, errors.New("--retry-after must be a number of seconds from 1 to 31536000"))
	}
	return nil
}
