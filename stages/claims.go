package stages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/internal/traffic"
)

// Claims refuses to go on where another owner has a route on the host for
// requests that one of the host's proxied roles claims. It changes nothing. The
// routes are those that the running proxy watches, wherever they are.
func (w *Work) Claims(ctx context.Context, in Input) error {
	var roles, others []string
	for _, t := range in.Targets {
		switch {
		case t.Host != w.Target.Host:
		case t.Proxied:
			roles = append(roles, t.Role.Name)
		default:
			others = append(others, t.Role.Name)
		}
	}
	if err := w.lostTraffic(ctx, in, others); err != nil || len(roles) == 0 {
		return err
	}
	tables, err := w.routes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, table := range tables {
		for _, role := range roles {
			v, err := table.Check(ctx, traffic.ClaimOf(in.Config, role))
			for _, warning := range v.Warnings {
				in.Warn("%s", warning)
			}
			if err == nil {
				err = v.Err()
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lostTraffic refuses roles that have a route on the host and get no traffic any
// more, by `proxy: false` or as another role became the primary one. Their old
// containers serve until another role has taken over, which the cutover of a role
// without traffic does not wait for. A role that left is waited for.
// A rollback is not refused: its way back must not need another configuration.
func (w *Work) lostTraffic(ctx context.Context, in Input, roles []string) error {
	push, err := state.Outputs[state.PushOutputs](in.Upstream, "push")
	if in.Options.GoesBack || err == nil && push.GoesBack {
		return nil
	}
	for _, role := range roles {
		_, err := w.Host.Files().Stat(ctx, w.Names.RouteFile(role))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		return exit.With(exit.Failed, fmt.Errorf("role %s has the traffic on %s, and kstep.yml gives it none any more", role, w.Target.Host),
			fmt.Sprintf("give the role without traffic a new name, such as %s-worker: the deploy then moves the traffic, and stops role %s when its requests are done", role, role),
			"or give it the traffic again: primary_role, or proxy: true")
	}
	return nil
}

// routes reads the folder of routes that kstep writes to, and the one that the
// running proxy watches if that is another one.
func (w *Work) routes(ctx context.Context) ([]*traffic.Table, error) {
	var wg sync.WaitGroup
	var own *traffic.Table
	var front engine.Container
	var runs bool
	errs := make([]error, 2)
	wg.Go(func() { own, errs[0] = traffic.ReadTable(ctx, w.Host, w.Names.RouteDir()) })
	wg.Go(func() { front, runs, errs[1] = Proxy(ctx, w) })
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	watched := proxy.Folder(ctx, w.Host, front, w.Names)
	if !runs || watched == "" || watched == w.Names.RouteDir() {
		return []*traffic.Table{own}, nil
	}
	other, err := traffic.ReadTable(ctx, w.Host, watched)
	return []*traffic.Table{own, other}, err
}
