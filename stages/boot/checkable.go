package boot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/cord"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// checkable refuses an image in which the health check of the cord cannot run,
// before a container of it starts: it would never get traffic.
func checkable(ctx context.Context, in stages.Input, w *stages.Work, all []todo) error {
	at := slices.IndexFunc(all, func(t todo) bool { return t.create && t.want.CordDir != "" })
	if at < 0 {
		return nil
	}
	want := all[at].want
	missing, err := w.Host.Engine().Lacks(ctx, engine.Extract{
		Name: want.Spec.Name + "_check", Image: want.Spec.Image, Labels: stages.RoleLabels(in.Config, ""),
	}, cord.Needs(in.Config.EffectiveHealthcheck(w.Target.Role)))
	if err != nil || len(missing) == 0 {
		return err
	}
	return exit.With(exit.Failed,
		fmt.Errorf("the image %s has no %s, which the health check of proxy.switch: cord runs in the container", shortImage(want), strings.Join(missing, " and no ")),
		"add it to the image, or give a healthcheck.cmd that the image can run (it still needs /bin/sh)",
		"proxy.switch: routes needs nothing in the image")
}

// shortImage is the image without its digest, which says nothing to people.
func shortImage(want plan.Wanted) string {
	name, _, _ := strings.Cut(want.Spec.Image, "@")
	return name
}
