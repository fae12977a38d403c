package envpush

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// sweep removes the env files of roles that have left the host.
func sweep(ctx context.Context, in stages.Input, w *stages.Work) error {
	gone, err := departed(ctx, in, w)
	if err != nil {
		return err
	}
	return remove(ctx, w, gone)
}

// departed are the roles that have an env file on the host, and no place there
// any more.
func departed(ctx context.Context, in stages.Input, w *stages.Work) ([]string, error) {
	files, _, err := list(ctx, w)
	all := slices.Concat(in.All, plan.Accessories(in.Config))
	return slices.DeleteFunc(files, func(role string) bool {
		return slices.ContainsFunc(all, func(t plan.Target) bool {
			ofProxy := role == plan.ProxyRole && t.Proxied && !in.Config.Proxy.Env.IsEmpty()
			return t.Host == w.Target.Host && (t.EnvRole() == role || ofProxy)
		})
	}), err
}

func removing(role string) stages.Act {
	if name, ok := plan.AccessoryOf(role); ok {
		return stages.To(stages.Remove, "the env file of the accessory %s", name)
	}
	if role == plan.ProxyRole {
		return stages.To(stages.Remove, "the env file of the proxy")
	}
	return stages.To(stages.Remove, "the env file of role %s", role)
}

// Delete removes the env files of the service and destination: those of the
// filtered roles, or without a filter all there are on the hosts, also of roles
// that the configuration does not know any more. Containers keep what they were
// made with.
func Delete(ctx context.Context, in stages.Input, filtered bool) ([]state.Target, error) {
	records, _, err := stages.EachHost(ctx, in, in.Targets, func(ctx context.Context, w *stages.Work) (struct{}, error) {
		if _, err := w.Guarded(ctx); err != nil {
			return struct{}{}, err
		}
		files, foreign, err := list(ctx, w)
		if err != nil {
			return struct{}{}, err
		}
		if len(foreign) > 0 {
			return struct{}{}, exit.With(exit.BadState,
				fmt.Errorf("%s is not kstep's; nothing was removed", path.Join(w.Names.EnvDir(), foreign[0])),
				"look at it, and move it out of that folder")
		}
		return struct{}{}, remove(ctx, w, slices.DeleteFunc(files, func(role string) bool {
			return filtered && !slices.ContainsFunc(in.Targets, func(t plan.Target) bool {
				return t.Host == w.Target.Host && t.EnvRole() == role
			})
		}))
	})
	return records, err
}

// list are the roles that have an env file on the host, and the names of files
// in that folder that no kstep made.
func list(ctx context.Context, w *stages.Work) (roles, foreign []string, err error) {
	entries, err := w.Host.Files().List(ctx, w.Names.EnvDir())
	for _, e := range entries {
		role, ours := strings.CutSuffix(e.Name, ".json")
		if ours && !e.IsDir {
			roles = append(roles, role)
		} else {
			foreign = append(foreign, e.Name)
		}
	}
	return roles, foreign, err
}

func remove(ctx context.Context, w *stages.Work, roles []string) error {
	for _, role := range roles {
		if err := w.Host.Files().Remove(ctx, host.Inside(w.Names.Folder(), w.Names.EnvFile(role))); err != nil {
			return err
		}
		w.Made(removing(role))
	}
	return nil
}
