package registry

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// layer is a compressed layer that is ready to be uploaded, or that the
// repository is known to have.
type layer struct {
	desc   v1.Descriptor
	diffID v1.Hash
	open   func() (io.ReadCloser, error)
}

var _ v1.Layer = layer{}

func (l layer) Digest() (v1.Hash, error)             { return l.desc.Digest, nil }
func (l layer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l layer) Size() (int64, error)                 { return l.desc.Size, nil }
func (l layer) MediaType() (types.MediaType, error)  { return l.desc.MediaType, nil }
func (l layer) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l layer) Uncompressed() (io.ReadCloser, error) { return nil, errors.New("not kept") }

// errNotThere is what uploading a layer ends with that was thought to be in
// the repository already.
var errNotThere = errors.New("the repository no longer has the layer")

// knownLayer stands for a blob that another manifest of the repository names.
func knownLayer(diffID v1.Hash, desc v1.Descriptor) layer {
	return layer{desc: desc, diffID: diffID, open: func() (io.ReadCloser, error) { return nil, errNotThere }}
}

// blobLayer is an uncompressed or compressed section as it is.
func blobLayer(content []byte, mediaType types.MediaType) layer {
	sum := sha256.Sum256(content)
	return layer{
		desc: v1.Descriptor{MediaType: mediaType, Size: int64(len(content)), Digest: toHash(sum[:])},
		open: func() (io.ReadCloser, error) {
			return readable{io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content)))}, nil
		},
	}
}

// pack makes a layer of an archive ready: one pass that compresses it into
// dir and digests both sides. The level is fixed, so that equal layers become
// equal blobs. A layer that the engine already compressed stays as it is.
func pack(ctx context.Context, section *io.SectionReader, diffID v1.Hash, dir string) (layer, error) {
	if mediaType, ok := compressed(section); ok {
		digest := sha256.New()
		if _, err := io.Copy(digest, reader{ctx, io.NewSectionReader(section, 0, section.Size())}); err != nil {
			return layer{}, err
		}
		return layer{
			desc:   v1.Descriptor{MediaType: mediaType, Size: section.Size(), Digest: toHash(digest.Sum(nil))},
			diffID: diffID,
			open: func() (io.ReadCloser, error) {
				return readable{io.NewSectionReader(section, 0, section.Size())}, nil
			},
		}, nil
	}
	file, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return layer{}, err
	}
	plain, packed := sha256.New(), sha256.New()
	size, err := squeeze(file, packed, io.TeeReader(reader{ctx, section}, plain))
	err = errors.Join(err, file.Close())
	if got := toHash(plain.Sum(nil)); err == nil && got != diffID {
		err = fmt.Errorf("the archive is damaged: layer %s has the digest %s", diffID, got)
	}
	if err != nil {
		return layer{}, errors.Join(err, os.Remove(file.Name()))
	}
	return layer{
		desc:   v1.Descriptor{MediaType: types.DockerLayer, Size: size, Digest: toHash(packed.Sum(nil))},
		diffID: diffID,
		open:   func() (io.ReadCloser, error) { return os.Open(file.Name()) },
	}, nil
}

// readable is a section that needs no closing. Like a file, it can be read from anywhere.
type readable struct{ *io.SectionReader }

func (readable) Close() error { return nil }

// gzipLevel of klauspost's writer packs tighter than the standard library's
// fastest in little more than half its time (543 MB of Debian: 3.5 s to 216 MB,
// against 6.3 s to 225 MB).
const gzipLevel = 3

func squeeze(to io.Writer, digest hash.Hash, from io.Reader) (int64, error) {
	count := &counter{}
	buffer := bufio.NewWriterSize(io.MultiWriter(to, digest, count), 1<<20)
	zip, err := gzip.NewWriterLevel(buffer, gzipLevel)
	if err != nil {
		return 0, err
	}
	if _, err := io.CopyBuffer(zip, from, make([]byte, 1<<18)); err != nil {
		return 0, err
	}
	if err := zip.Close(); err != nil {
		return 0, err
	}
	err = buffer.Flush()
	return count.n, err
}

// compressed looks at the magic numbers of gzip and zstd; a tar has neither.
func compressed(section *io.SectionReader) (types.MediaType, bool) {
	magic := make([]byte, 4)
	n, _ := section.ReadAt(magic, 0)
	switch {
	case n >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		return types.DockerLayer, true
	case n == 4 && bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return types.OCILayerZStd, true
	}
	return "", false
}

func toHash(sum []byte) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum)} }

// reader ends with its context.
type reader struct {
	ctx   context.Context
	inner io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.inner.Read(p)
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
