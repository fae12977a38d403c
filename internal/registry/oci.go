package registry

import (
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// loadOCI follows index.json to the one image or the one index of several
// platforms that a builder writes.
func (a *Archive) loadOCI() error {
	var top v1.IndexManifest
	if err := a.readJSON("index.json", &top); err != nil {
		return err
	}
	if len(top.Manifests) != 1 {
		return fmt.Errorf("it holds %d images instead of one", len(top.Manifests))
	}
	desc := top.Manifests[0]
	if desc.MediaType.IsImage() {
		return a.addOCI(desc.Digest)
	}
	raw, err := a.read(blobPath(desc.Digest))
	if err != nil {
		return err
	}
	index := &ociIndex{archive: a, raw: raw, desc: desc}
	if err := a.readJSON(blobPath(desc.Digest), &index.manifest); err != nil {
		return err
	}
	for _, child := range index.manifest.Manifests {
		if !child.MediaType.IsImage() {
			return fmt.Errorf("it holds a %s, which is not supported", child.MediaType)
		}
		// Attestations travel as images of an unknown platform.
		if child.Platform != nil && child.Platform.OS == "unknown" {
			continue
		}
		if err := a.addOCI(child.Digest); err != nil {
			return err
		}
		// By this an engine chooses; what the image says of itself is in its digest.
		if own := a.images[len(a.images)-1]; child.Platform != nil && !own.isFor(*child.Platform) {
			return fmt.Errorf("its index calls %s an image for %s, and it is one for %s", child.Digest, child.Platform, platform(own.file))
		}
	}
	if len(a.images) == 0 {
		return errors.New("its index names no image")
	}
	a.index = index
	return nil
}

func (a *Archive) addOCI(digest v1.Hash) error {
	raw, err := a.read(blobPath(digest))
	if err != nil {
		return err
	}
	var manifest v1.Manifest
	if err := a.readJSON(blobPath(digest), &manifest); err != nil {
		return err
	}
	config, err := a.read(blobPath(manifest.Config.Digest))
	if err != nil {
		return err
	}
	image, err := newArchiveImage(config)
	if err != nil {
		return err
	}
	image.oci, image.raw = &manifest, raw
	for _, layer := range manifest.Layers {
		image.layers = append(image.layers, blobPath(layer.Digest))
	}
	a.images = append(a.images, image)
	return a.check(image)
}

// isFor reports whether the image's own platform is what an index says; a variant may be
// missing in one of them.
func (i archiveImage) isFor(p v1.Platform) bool {
	return i.file.OS == p.OS && i.file.Architecture == p.Architecture && (i.file.Variant == p.Variant || i.file.Variant == "" || p.Variant == "")
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// taggable is what an OCI archive is pushed as: its bytes as they are, so that
// the digest in the registry is the one the builder made.
func (a *Archive) taggable() (interface {
	partial.Describable
	RawManifest() ([]byte, error)
}, error) {
	if a.index != nil {
		return a.index, nil
	}
	return partial.CompressedToImage(ociImage{archive: a, image: a.images[0]})
}

// ociIndex is an index of several platforms in an archive.
type ociIndex struct {
	archive  *Archive
	raw      []byte
	manifest v1.IndexManifest
	desc     v1.Descriptor
}

var _ v1.ImageIndex = (*ociIndex)(nil)

func (i *ociIndex) MediaType() (types.MediaType, error)       { return i.desc.MediaType, nil }
func (i *ociIndex) Digest() (v1.Hash, error)                  { return i.desc.Digest, nil }
func (i *ociIndex) Size() (int64, error)                      { return i.desc.Size, nil }
func (i *ociIndex) IndexManifest() (*v1.IndexManifest, error) { return i.manifest.DeepCopy(), nil }
func (i *ociIndex) RawManifest() ([]byte, error)              { return i.raw, nil }
func (i *ociIndex) ImageIndex(v1.Hash) (v1.ImageIndex, error) {
	return nil, errors.New("index in an index")
}

func (i *ociIndex) Image(digest v1.Hash) (v1.Image, error) {
	part := &Archive{file: i.archive.file, entries: i.archive.entries}
	if err := part.addOCI(digest); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(ociImage{archive: part, image: part.images[0]})
}

// ociImage is one image in an OCI archive.
type ociImage struct {
	archive *Archive
	image   archiveImage
}

func (i ociImage) RawConfigFile() ([]byte, error) { return i.image.config, nil }
func (i ociImage) RawManifest() ([]byte, error)   { return i.image.raw, nil }

func (i ociImage) MediaType() (types.MediaType, error) {
	if i.image.oci.MediaType == "" {
		return types.OCIManifestSchema1, nil
	}
	return i.image.oci.MediaType, nil
}

func (i ociImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	for _, desc := range i.image.oci.Layers {
		if desc.Digest == digest {
			return ociLayer{archive: i.archive, desc: desc}, nil
		}
	}
	return nil, fmt.Errorf("layer %s is not in the image", digest)
}

// ociLayer is a blob in an OCI archive, compressed as the builder left it.
type ociLayer struct {
	archive *Archive
	desc    v1.Descriptor
}

func (l ociLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l ociLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l ociLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

func (l ociLayer) Compressed() (io.ReadCloser, error) {
	section, err := l.archive.open(blobPath(l.desc.Digest))
	if err != nil {
		return nil, err
	}
	return readable{section}, nil
}
