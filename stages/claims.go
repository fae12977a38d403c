package stages

import (
	"context"
	"errors"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/proxy"
	"github.com/kstep/kstep/internal/traffic"
)

// Claims refuses to go on where another owner has a route on the host for
// requests that one of the host's proxied roles claims. It changes nothing. The
// routes are those that the running proxy watches, wherever they are.
func (w *Work) Claims(ctx context.Context, in Input) error {
	var roles []string
	for _, t := range in.Targets {
		if t.Host == w.Target.Host && t.Proxied {
			roles = append(roles, t.Role.Name)
		}
	}
	if len(roles) == 0 {
		return nil
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
