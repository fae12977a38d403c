package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

// IsOf reports whether an image, by whatever name, is of a repository.
func IsOf(image, repository string) bool {
	ref, err := name.ParseReference(image)
	if err != nil {
		return false
	}
	want, err := name.NewRepository(repository)
	return err == nil && ref.Context().Name() == want.Name()
}

// Resolve looks a ready image up in its registry, by tag or digest. It sends
// nothing and sets no tag.
func Resolve(ctx context.Context, cfg *config.Config, ref string, secrets Secrets, sink report.Sink) (state.PushOutputs, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return state.PushOutputs{}, exit.With(exit.Usage, fmt.Errorf("--image: %w", err),
			"write it as server/name:tag or server/name@sha256:…")
	}
	c, err := Open(ctx, cfg, parsed.Context().Name(), secrets, sink)
	if err != nil {
		return state.PushOutputs{}, err
	}
	defer c.Close()
	out, err := c.resolve(ctx, parsed)
	if err != nil {
		return state.PushOutputs{}, c.explain("look up "+ref, err)
	}
	return out, nil
}

func (c *Client) resolve(ctx context.Context, ref name.Reference) (state.PushOutputs, error) {
	desc, err := c.get(ctx, ref.Identifier())
	if err != nil {
		return state.PushOutputs{}, err
	}
	var children []v1.Descriptor
	switch {
	case desc.MediaType.IsImage():
		children = []v1.Descriptor{desc.Descriptor}
	case desc.MediaType.IsIndex():
		var index v1.IndexManifest
		if err := json.Unmarshal(desc.Manifest, &index); err != nil {
			return state.PushOutputs{}, err
		}
		children = index.Manifests
	default:
		return state.PushOutputs{}, fmt.Errorf("it is a %s and not an image", desc.MediaType)
	}
	images, err := c.variants(ctx, children)
	if err != nil {
		return state.PushOutputs{}, err
	}
	server, _ := c.cfg.RegistryAt(c.repo.RegistryStr())
	out := state.PushOutputs{
		Image:      joinVariants(images),
		Repository: displayName(c.repo),
		Digest:     desc.Digest.String(),
		Tags:       []string{},
		Insecure:   server.Insecure,
	}
	if tag, ok := ref.(name.Tag); ok {
		out.Tags = append(out.Tags, tag.TagStr())
	}
	return out, nil
}

func (c *Client) variants(ctx context.Context, children []v1.Descriptor) ([]state.Variant, error) {
	var images []state.Variant
	for _, child := range children {
		// Attestations travel as images of an unknown platform.
		if !child.MediaType.IsImage() || (child.Platform != nil && child.Platform.OS == "unknown") {
			continue
		}
		m, err := c.manifest(ctx, child.Digest.String())
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, fmt.Errorf("the index names %s, which is not there", child.Digest)
		}
		config, err := c.config(ctx, m.Config.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, variant(m.Config.Digest.String(), config))
	}
	if len(images) == 0 {
		return nil, errors.New("its index names no image")
	}
	return images, nil
}

func (c *Client) reference(identifier string) (name.Reference, error) {
	if _, err := v1.NewHash(identifier); err == nil {
		return c.repo.Digest(identifier), nil
	}
	return c.repo.Tag(identifier), nil
}

// displayName is the repository as people and engines write it.
func displayName(repo name.Repository) string {
	return displayServer(repo) + "/" + repo.RepositoryStr()
}
