package push

import (
	"context"
	"errors"
	"fmt"

	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/secret"
	"github.com/kstep/kstep/internal/short"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Plan implements stages.Planner.
func (Stage) Plan(ctx context.Context, in stages.Input, _ *stages.Outlook) (stages.Forecast, error) {
	repository := registry.Repository(in.Config)
	own := earlier(in, repository)
	var out state.PushOutputs
	var acts []stages.Act
	var err error
	built := in.Upstream.File("build")
	switch {
	case in.Options.Image != "":
		var same bool
		out, same, err = resolve(ctx, in)
		if !same && err == nil {
			acts = append(acts, stages.To(stages.Pin, "%s to %s", in.Options.Image, short.Of(out.Digest)))
		}
	case built == nil && own != nil: // The image is in the registry; what it was made from need not be here.
		out = *own
	case built == nil || len(built.Outputs) == 0:
		if out = unknown(in, repository); !out.Direct {
			acts = append(acts, upload(repository, in.Version))
		}
	case in.Config.Direct():
		var made state.BuildOutputs
		if made, err = state.Outputs[state.BuildOutputs](in.Upstream, "build"); err == nil {
			out = direct(in, made, repository)
		}
	default:
		out, acts, err = archive(ctx, in, repository)
	}
	one := stages.Pending{Acts: acts}
	if err != nil {
		if out = unknown(in, repository); own != nil {
			out = *own
		}
	}
	if errors.Is(err, secret.ErrMissing) || errors.Is(err, secret.ErrEmpty) {
		one.Notes, err = []string{fmt.Sprintf("the registry cannot be queried here: %s", err)}, nil
	}
	return stages.Forecast{Pending: []stages.Pending{one}, Outputs: out}, err
}

// archive compares what was built with what the registry has.
func archive(ctx context.Context, in stages.Input, repository string) (state.PushOutputs, []stages.Act, error) {
	built, err := state.Outputs[state.BuildOutputs](in.Upstream, "build")
	if err != nil {
		return state.PushOutputs{}, nil, err
	}
	client, err := registry.Open(ctx, in.Config, repository, in.Secrets, in.Report)
	if err != nil {
		return state.PushOutputs{}, nil, err
	}
	defer client.Close()
	wanted := request(in, built, repository)
	digest, tags, err := client.Lacking(ctx, wanted)
	if err != nil {
		return state.PushOutputs{}, nil, err
	}
	out := outputs(in, wanted, repository, registry.Pushed{Digest: digest})
	if digest == "" {
		out.Digest = state.UnknownDigest
		return out, []stages.Act{upload(repository, in.Version)}, nil
	}
	var acts []stages.Act
	for _, tag := range tags {
		acts = append(acts, stages.To(stages.Tag, "%s:%s", repository, tag))
	}
	return out, acts, nil
}

func upload(repository, version string) stages.Act {
	return stages.To(stages.Push, "%s:%s", repository, version)
}

func unknown(in stages.Input, repository string) state.PushOutputs {
	return state.PushOutputs{
		Direct: in.Config.Direct(), Repository: repository, Digest: state.UnknownDigest, Image: state.Image{ConfigDigest: state.UnknownDigest},
	}
}
