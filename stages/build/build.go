// Package build is the stage that makes the image: from a clean copy of the
// commit, or from the working tree where builder.context says so. It leaves
// the image in this machine's engine and as an archive in the state folder,
// which is all that push needs.
package build

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kstep/kstep/internal/builder"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// Stage is `build`.
type Stage struct{}

var _ stages.Planner = Stage{}

// Info implements stages.Stage.
func (Stage) Info() stages.Info {
	return stages.Info{
		Name:    "build",
		Summary: "build the image and save it as an archive in the state folder",
	}
}

// Run implements stages.Stage.
func (Stage) Run(ctx context.Context, in stages.Input) (stages.Result, error) {
	src, own, done, err := look(ctx, in)
	if err != nil {
		return stages.Result{}, err
	}
	if done {
		return stages.Result{Outputs: own}, nil
	}
	b, err := builder.Find(ctx)
	if err != nil {
		return stages.Result{}, err
	}
	spec, err := specify(in, src)
	if err != nil {
		return stages.Result{}, err
	}
	warnings, err := b.Check(spec)
	if err != nil {
		return stages.Result{}, err
	}
	for _, warning := range warnings {
		in.Warn("%s", warning)
	}
	out, err := src.within(ctx, in, func(dir string) (*state.BuildOutputs, error) {
		spec, err := inside(spec, dir)
		if err != nil {
			return nil, err
		}
		return produce(ctx, in, b, spec, own)
	})
	if err != nil {
		return stages.Result{}, err
	}
	out.InputsDigest = src.inputs
	return stages.Result{Changed: changed(own, out), Outputs: out}, tidy(in.StateDir, out.Archive)
}

// Plan implements stages.Planner. What is built, and so the image's digest, is
// not known before.
func (Stage) Plan(ctx context.Context, in stages.Input, _ *stages.Outlook) (stages.Forecast, error) {
	_, own, done, err := look(ctx, in)
	if err != nil {
		return stages.Forecast{}, err
	}
	if done {
		return stages.Forecast{Outputs: own}, nil
	}
	act := stages.To(stages.Build, "%s:%s", registry.Repository(in.Config), in.Version)
	return stages.Forecast{Pending: []stages.Pending{{Acts: []stages.Act{act}}}}, nil
}

// look finds out whether an earlier build of the release is what would be made
// now.
func look(ctx context.Context, in stages.Input) (src source, own *state.BuildOutputs, done bool, err error) {
	if src, err = locate(ctx, in); err != nil {
		return src, nil, false, err
	}
	own = earlier(in)
	done = own != nil && src.inputs != "" && own.InputsDigest == src.inputs && intact(in, own)
	return src, own, done, nil
}

// changed compares what was made: a build whose every step came from the
// builder's cache makes the same image again.
func changed(own, out *state.BuildOutputs) bool {
	return own == nil || own.ConfigDigest != out.ConfigDigest || own.ArchiveDigest != out.ArchiveDigest
}

// earlier is what a build of the same release left, if it got so far.
func earlier(in stages.Input) *state.BuildOutputs {
	if in.Own == nil || len(in.Own.Outputs) == 0 {
		return nil
	}
	var own state.BuildOutputs
	if err := json.Unmarshal(in.Own.Outputs, &own); err != nil || own.Archive == "" {
		return nil
	}
	return &own
}

func intact(in stages.Input, own *state.BuildOutputs) bool {
	return filepath.IsLocal(own.Archive) && builder.Intact(filepath.Join(in.StateDir, own.Archive),
		builder.File{Digest: own.ArchiveDigest, Size: own.ArchiveSize})
}

// specify makes what the builder is to do, the context aside.
func specify(in stages.Input, src source) (builder.Spec, error) {
	cfg := in.Config.Builder
	spec := builder.Spec{
		Context:    src.context,
		Dockerfile: cfg.Dockerfile,
		Tag:        registry.Repository(in.Config) + ":" + in.Version,
		// Prune finds the images of a service by it. Nothing that changes with
		// the release is put into the image, so that equal input stays equal.
		Labels:    map[string]string{engine.LabelService: in.Config.Service},
		Args:      cfg.Args,
		Target:    cfg.Target,
		SSH:       cfg.SSH,
		Platforms: cfg.Platforms,
		CacheFrom: cfg.Cache.From,
		CacheTo:   cfg.Cache.To,
	}
	for _, name := range cfg.Secrets {
		value, err := in.Secrets.Get(name)
		if err != nil {
			return builder.Spec{}, fmt.Errorf("builder.secrets: %w", err)
		}
		spec.Secrets = append(spec.Secrets, builder.Secret{Name: name, Value: value})
	}
	return spec, nil
}

// produce builds the image and writes its archive, unless the one that is there
// holds this very image.
func produce(ctx context.Context, in stages.Input, b builder.Builder, spec builder.Spec, own *state.BuildOutputs) (*state.BuildOutputs, error) {
	line := func(text string) { in.Report.Emit(report.Event{Kind: report.Output, Message: text}) }
	out := &state.BuildOutputs{
		Archive: "image-" + in.Version + ".tar",
		Builder: string(b.Kind),
	}
	in.Report.Emit(report.Event{Kind: report.Notice, Message: "build " + spec.Tag + " with " + b.String()})
	if len(spec.Platforms) > 1 {
		// The engine's classic store cannot hold several platforms under one name.
		file, err := builder.WriteArchive(in.StateDir, out.Archive, func(w io.Writer) error {
			return b.Build(ctx, spec, w, line)
		})
		return describe(in, out, file, err)
	}
	if err := b.Build(ctx, spec, nil, line); err != nil {
		return nil, err
	}
	out.Reference = spec.Tag
	if own != nil && own.ConfigDigest == b.ImageID(ctx, spec.Tag) && own.Archive == out.Archive && intact(in, own) {
		return describe(in, out, builder.File{Digest: own.ArchiveDigest, Size: own.ArchiveSize}, nil)
	}
	file, err := builder.WriteArchive(in.StateDir, out.Archive, func(w io.Writer) error {
		return b.Save(ctx, spec.Tag, w)
	})
	return describe(in, out, file, err)
}

// describe reads the archive back: what push will find in it is what the state
// says of it.
func describe(in stages.Input, out *state.BuildOutputs, file builder.File, err error) (*state.BuildOutputs, error) {
	if err != nil {
		return nil, err
	}
	archive, err := registry.OpenArchive(filepath.Join(in.StateDir, out.Archive))
	if err != nil {
		return nil, err
	}
	out.ArchiveDigest, out.ArchiveSize = file.Digest, file.Size
	out.Image, out.ArchiveFormat = archive.Image(), archive.Format()
	return out, archive.Close()
}

// tidy removes the archives of earlier builds, which no state file names any
// more.
func tidy(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if name == keep || !strings.HasPrefix(name, "image-") || !strings.HasSuffix(name, ".tar") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove old image archive: %w", err)
		}
	}
	return nil
}
