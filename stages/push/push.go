// Package push is the stage that brings the image archive into the registry,
// without Docker, or that looks up a ready image there. Without a registry it only
// names the image. From here on an image is known by its digest.
package push

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `push`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "push",
		Summary: "push the image archive to the registry, or look a ready image up; without a registry, name the image",
		Reads:   []string{"build"},
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	if in.Options.Retained != nil {
		return stages.Result{Changed: true, Outputs: *in.Options.Retained}, nil
	}
	if in.Options.Image != "" {
		return ready(ctx, in)
	}
	built, err := state.Outputs[state.BuildOutputs](in.Upstream, "build")
	if err != nil {
		return stages.Result{}, err
	}
	if !filepath.IsLocal(built.Archive) {
		return stages.Result{}, exit.With(exit.BadState, fmt.Errorf("build.json names an archive outside of the state folder: %s", built.Archive), "run kstep build again")
	}
	repository := registry.Repository(in.Config)
	if in.Config.Direct() {
		out := direct(in, built, repository)
		own := earlier(in, repository)
		return stages.Result{Changed: own == nil || own.Digest != out.Digest, Outputs: out}, nil
	}
	client, err := registry.Open(ctx, in.Config, repository, in.Secrets, in.Report)
	if err != nil {
		return stages.Result{}, err
	}
	defer client.Close()
	wanted := request(in, built, repository)
	pushed, err := client.Push(ctx, wanted)
	if err != nil {
		return stages.Result{}, err
	}
	return stages.Result{Changed: pushed.Changed, Outputs: outputs(in, wanted, repository, pushed)}, nil
}

func request(in stages.Input, built state.BuildOutputs, repository string) registry.Request {
	return registry.Request{
		Archive: filepath.Join(in.StateDir, built.Archive),
		Format:  built.ArchiveFormat,
		Image:   built.Image,
		Tags:    []string{in.Version, stages.LatestTag(in.Config)},
		Own:     earlier(in, repository),
	}
}

func outputs(in stages.Input, req registry.Request, repository string, pushed registry.Pushed) state.PushOutputs {
	return state.PushOutputs{
		Image:      req.Image,
		Repository: repository,
		Digest:     pushed.Digest,
		Tags:       req.Tags,
		Insecure:   in.Config.Registry.Insecure,
		Anew:       in.Options.Anew,
		Uploaded:   pushed.Uploaded,
	}
}

// direct names an image for which there is no registry. The stage assets brings it to the
// hosts from its archive.
func direct(in stages.Input, built state.BuildOutputs, repository string) state.PushOutputs {
	out := outputs(in, request(in, built, repository), repository, registry.Pushed{Digest: built.Identity()})
	out.Direct, out.Archive = true, built.Archive
	return out
}

// ready records an image that is already built and pushed.
func ready(ctx context.Context, in stages.Input) (stages.Result, error) {
	out, same, err := resolve(ctx, in)
	if err != nil {
		return stages.Result{}, err
	}
	return stages.Result{Changed: !same, Outputs: out}, nil
}

// resolve looks a ready image up, and reports whether an earlier run found the
// same one.
func resolve(ctx context.Context, in stages.Input) (out state.PushOutputs, same bool, err error) {
	out, err = registry.Resolve(ctx, in.Config, in.Options.Image, in.Secrets, in.Report)
	own := earlier(in, out.Repository)
	out.GoesBack, out.Anew = in.Options.GoesBack, in.Options.Anew
	return out, own != nil && own.Digest == out.Digest && slices.Equal(own.Tags, out.Tags), err
}

// earlier is what a push of the same release to the same repository left.
func earlier(in stages.Input, repository string) *state.PushOutputs {
	if in.Own == nil || len(in.Own.Outputs) == 0 {
		return nil
	}
	var own state.PushOutputs
	if err := json.Unmarshal(in.Own.Outputs, &own); err != nil || own.Repository != repository {
		return nil
	}
	return &own
}
