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
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// checkable refuses an image in which the health check of the cord cannot run,
// before a container of it starts: it would never get traffic.
func checkable(ctx context.Context, in stages.Input, w *stages.Work, all []todo) error {
	want, checked := toCheck(all)
	if !checked {
		return nil
	}
	missing, err := w.Host.Engine().Lacks(ctx, engine.Extract{
		Name: checkName(want), Image: want.Spec.Image, Labels: stages.RoleLabels(in.Config, ""),
	}, cord.Needs(in.Config.EffectiveHealthcheck(w.Target.Role)))
	if err != nil || len(missing) == 0 {
		return err
	}
	return exit.With(exit.Failed,
		fmt.Errorf("the image %s has no %s, which the health check of proxy.switch: cord runs in the container", shortImage(want), strings.Join(missing, " and no ")),
		"add it to the image, or give a healthcheck.cmd that the image can run (it still needs /bin/sh)",
		"proxy.switch: routes needs nothing in the image")
}

// shortImage is the image without its digest, which helps no reader.
func shortImage(want plan.Wanted) string { return state.Referenced(want.Spec.Image).Repository }

// toCheck is the container whose image is looked at: the target's all have the
// same.
func toCheck(all []todo) (plan.Wanted, bool) {
	at := slices.IndexFunc(all, func(t todo) bool { return t.create && t.want.CordDir != "" })
	if at < 0 {
		return plan.Wanted{}, false
	}
	return all[at].want, true
}

// checkName is the name of the container that is never started.
func checkName(want plan.Wanted) string { return want.Spec.Name + "_check" }
