package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/state"
)

// source is the archive of one push, opened when it is needed.
type source struct {
	client  *Client
	req     Request
	archive *Archive
}

// manifest is what can be put under a tag.
type manifest interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

func (s *source) open() (*Archive, error) {
	if s.archive != nil {
		return s.archive, nil
	}
	archive, err := openFor(s.req.Archive, s.req.Image)
	s.archive = archive
	return archive, err
}

// openFor opens the archive that a build made, and refuses one that holds another image.
func openFor(file string, image state.Image) (*Archive, error) {
	archive, err := OpenArchive(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.MissingState, fmt.Errorf("image archive %s is missing", file),
			"run kstep build, or bring the archive along with build.json")
	}
	if err != nil {
		return nil, exit.With(exit.BadState, err, "run kstep build again")
	}
	if got, want := archive.Image().Identity(), image.Identity(); got != want {
		return nil, errors.Join(exit.With(exit.BadState, fmt.Errorf("image archive %s holds the image %s instead of %s", file, got, want),
			"run kstep build again"), archive.Close())
	}
	return archive, nil
}

func (s *source) close() {
	if s.archive != nil {
		_ = s.archive.Close() // Only read from.
	}
}

// isAt reports whether the version's tag points at this image.
func (s *source) isAt(ctx context.Context, there *v1.Descriptor) (bool, error) {
	if there == nil {
		return false, nil
	}
	if own := s.req.Own; own != nil && own.Digest == there.Digest.String() && own.ConfigDigest == s.req.Image.ConfigDigest {
		return true, nil
	}
	if s.req.Format == FormatOCI {
		// Its bytes are pushed as they are, so the digest is enough.
		archive, err := s.open()
		if err != nil {
			return false, err
		}
		image, err := archive.taggable()
		if err != nil {
			return false, err
		}
		digest, err := image.Digest()
		return digest == there.Digest, err
	}
	// Another push may have compressed it otherwise; the config digest names the
	// image, however its layers are compressed.
	found, err := s.client.manifest(ctx, there.Digest.String())
	return err == nil && found != nil && found.Config.Digest.String() == s.req.Image.ConfigDigest, err
}

// upload sends what the repository does not have and returns the manifest,
// which is not put anywhere yet.
func (s *source) upload(ctx context.Context, replaced *v1.Descriptor) (manifest, error) {
	archive, err := s.open()
	if err != nil {
		return nil, err
	}
	if archive.Format() == FormatOCI {
		image, err := archive.taggable()
		if err != nil {
			return nil, err
		}
		return image, s.client.uploadOCI(ctx, archive, image)
	}
	identifiers := s.req.Tags[1:]
	if replaced != nil {
		identifiers = append([]string{replaced.Digest.String()}, identifiers...)
	}
	known, err := s.client.knownLayers(ctx, identifiers)
	if err != nil {
		return nil, err
	}
	return s.client.uploadDocker(ctx, archive, known)
}

// manifest fetches the manifest of an image; nil if there is none, or an
// index.
func (c *Client) manifest(ctx context.Context, identifier string) (*v1.Manifest, error) {
	desc, err := c.get(ctx, identifier)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !desc.MediaType.IsImage() {
		return nil, nil
	}
	var m v1.Manifest
	if err := json.Unmarshal(desc.Manifest, &m); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", identifier, err)
	}
	return &m, nil
}

// config fetches the config of an image.
func (c *Client) config(ctx context.Context, digest v1.Hash) (config v1.ConfigFile, err error) {
	err = c.retry(ctx, func() error {
		blob, err := c.puller.Layer(ctx, c.repo.Digest(digest.String()))
		if err != nil {
			return err
		}
		content, err := blob.Compressed()
		if err != nil {
			return err
		}
		defer content.Close()
		// To the end, where its reader compares the digest.
		data, err := io.ReadAll(io.LimitReader(content, maxMetadata+1))
		if err != nil {
			return err
		}
		if len(data) > maxMetadata {
			return fmt.Errorf("config %s has more than %d MiB", digest, maxMetadata>>20)
		}
		config = v1.ConfigFile{}
		return json.Unmarshal(data, &config)
	})
	return config, err
}

// knownLayers maps the uncompressed layers of images in the repository to their
// blobs. So the layers that versions share need not be compressed just to learn
// their digests. A registry that lies gains nothing: engines check what they
// unpack against the config's diff IDs.
func (c *Client) knownLayers(ctx context.Context, identifiers []string) (map[v1.Hash]v1.Descriptor, error) {
	known := map[v1.Hash]v1.Descriptor{}
	for _, identifier := range identifiers {
		m, err := c.manifest(ctx, identifier)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		config, err := c.config(ctx, m.Config.Digest)
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(config.RootFS.DiffIDs) != len(m.Layers) {
			continue
		}
		for i, diffID := range config.RootFS.DiffIDs {
			switch desc := m.Layers[i]; desc.MediaType {
			case types.DockerLayer, types.OCILayer:
				known[diffID] = v1.Descriptor{MediaType: types.DockerLayer, Size: desc.Size, Digest: desc.Digest}
			}
		}
	}
	return known, nil
}
