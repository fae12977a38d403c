package stages

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/kstep/kstep/internal/asset"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// What a state file says is a claim: another job may have written it, or a host
// that is no longer its owner's. What follows compares it with kstep.yml, with the
// names that kstep gives, and with the labels on the host.

// whoWrote is the way out where a state file says what no stage would have written.
const whoWrote = "find out who can write the state files: docs/state.md"

// Stated inspects a container that a state file names. It must be one of the
// target's role, of this service and destination, and of the version.
func Stated(ctx context.Context, in Input, w *Work, id string) (engine.Container, error) {
	if !containerID.MatchString(id) {
		return engine.Container{}, exit.With(exit.BadState, fmt.Errorf("a state file has %.80q where the id of a container belongs", id), whoWrote)
	}
	c, err := w.Host.Engine().Inspect(ctx, id)
	if err != nil {
		return c, err
	}
	if err := IsStated(in, w.Names, w.Target, c); err != nil {
		return engine.Container{}, err
	}
	return c, nil
}

// IsStated refuses a container that a state file names for a target, unless it is one
// of the target's role and of the version. A release may use one that an earlier
// release has made of the version.
func IsStated(in Input, names plan.Names, t plan.Target, c engine.Container) error {
	for label, want := range RoleLabels(in.Config, t.Role.Name) {
		if c.Labels[label] != want {
			return exit.With(exit.BadState,
				fmt.Errorf("a state file names the container %s on %s, which is not one of role %s of %s",
					c.Name, t.Host, t.Role.Name, names.Base()), whoWrote)
		}
	}
	if version := c.Labels[engine.LabelVersion]; version != in.Version {
		return exit.With(exit.BadState,
			fmt.Errorf("a state file names the container %s on %s, which is of version %.80q, not of %s",
				c.Name, t.Host, version, in.Version), whoWrote)
	}
	return nil
}

var containerID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

// AllStated refuses containers that a state file names and that are not the
// target's. Those that are gone are none of its business.
func AllStated(ctx context.Context, in Input, w *Work, ids []string) error {
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			if _, err := Stated(ctx, in, w, id); !errors.Is(err, engine.ErrNotFound) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// AssetFolders are the target's asset folders on its host; false for a role without
// assets.
func AssetFolders(in Input, w *Work, push state.PushOutputs) (asset.Bridge, bool) {
	paths := in.Config.EffectiveAssetPaths(w.Target.Role)
	return asset.Bridge{
		Host: w.Host, Sudo: in.Config.SSH.Sudo, Image: push.Reference(), Paths: paths,
		Rules: in.Config.AssetRules(paths), Writable: in.Config.WritableAssets(paths),
		Root:   w.Names.Assets(),
		Dir:    w.Names.AssetDir(w.Target.Role.Name, in.Version, push.ConfigDigest),
		Helper: w.Names.Container(w.Target.Role.Name, in.Version) + "_assets",
		Labels: RoleLabels(in.Config, ""),
		Warn: func(text string) {
			in.Report.Emit(report.Event{Kind: report.Notice, Host: w.Target.Host, Message: text})
		},
	}, len(paths) > 0
}

// StatedAssets compares the folders to mount with those that kstep.yml and the
// release require.
func StatedAssets(in Input, w *Work, push state.PushOutputs, stated state.AssetsTarget) error {
	var want []state.AssetVolume
	if folders, ok := AssetFolders(in, w, push); ok {
		want = folders.Volumes()
	}
	for _, v := range stated.Volumes {
		if !slices.Contains(want, v) {
			return exit.With(exit.BadState,
				fmt.Errorf("the state of assets has %.200q of %s for %.200q, which does not match kstep.yml and this release", v.HostDir, w.Target.Host, v.Path),
				"run kstep assets again; if kstep.yml has not changed since, "+whoWrote)
		}
	}
	if len(stated.Volumes) < len(want) {
		return exit.With(exit.BadState,
			fmt.Errorf("the state of assets lacks folders that kstep.yml needs on %s", w.Target.Host), "run kstep assets again")
	}
	return nil
}

// StatedEnv compares the env file with the one of the target's role.
func StatedEnv(w *Work, stated state.EnvTarget) error {
	if want := w.Names.EnvFile(w.Target.Role.Name); stated.File != want {
		return exit.With(exit.BadState,
			fmt.Errorf("the state of env-push has the file %.200q of %s, and the role's is %s", stated.File, w.Target.Host, want),
			"run kstep env-push again; if neither kstep.yml nor run_directory has changed since, "+whoWrote)
	}
	return nil
}

// statedImage compares the repository that push recorded with that of kstep.yml.
// Another one has to be named by the user.
func (r *run) statedImage(push *state.File) error {
	out, err := state.OwnOutputs[state.PushOutputs](push)
	switch {
	case push == nil || err != nil:
		return err
	case slices.ContainsFunc(r.Done, func(f *state.File) bool { return f.Stage == LastHostless }):
		return nil // This process did it.
	case registry.IsOf(out.Repository, r.Config.Repository()), registry.IsOf(r.Options.Image, out.Repository):
		return nil
	}
	return exit.With(exit.BadState,
		fmt.Errorf("the state of push has an image of %.200q, and that of kstep.yml is %s", out.Repository, r.Config.Repository()),
		"if it was pushed with --image, give that to this command too (KSTEP_IMAGE for a whole pipeline); else run kstep push again, and "+whoWrote)
}
