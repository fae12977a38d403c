package registry

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kstep/kstep/internal/report"
)

// parallel is how many layers are in the air at once.
const parallel = 4

// uploadDocker uploads config and layers of a docker archive and makes the
// manifest. The config goes first: it is small, and a login that may not push
// is found out before anything is compressed.
func (c *Client) uploadDocker(ctx context.Context, archive *Archive, known map[v1.Hash]v1.Descriptor) (manifest, error) {
	image := archive.images[0]
	config := blobLayer(image.config, types.DockerConfigJSON)
	if err := c.uploadLayer(ctx, config); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kstep-push-")
	if err != nil {
		return nil, local("make temporary folder", err)
	}
	defer os.RemoveAll(dir)
	progress := c.progress()
	defer progress.stop()
	work := layerWork{client: c, archive: archive, known: known, dir: dir, progress: progress, packing: make(chan struct{}, runtime.GOMAXPROCS(0))}
	layers, err := work.all(ctx, image)
	if err != nil {
		return nil, err
	}
	return newManifest(config, layers)
}

// layerWork brings the layers of one image into the repository.
type layerWork struct {
	client   *Client
	archive  *Archive
	known    map[v1.Hash]v1.Descriptor
	dir      string
	progress *progress
	packing  chan struct{} // As many at once as there are processors.
}

func (w layerWork) all(ctx context.Context, image archiveImage) ([]v1.Descriptor, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	first := map[v1.Hash]int{} // An image may hold one layer several times.
	done := make([]v1.Descriptor, len(image.layers))
	uploads := make(chan struct{}, parallel)
	var wait sync.WaitGroup
	for i, diffID := range image.file.RootFS.DiffIDs {
		if _, ok := first[diffID]; ok {
			continue
		}
		first[diffID] = i
		wait.Go(func() {
			select {
			case uploads <- struct{}{}:
				defer func() { <-uploads }()
			case <-ctx.Done():
				return
			}
			desc, err := w.one(ctx, image.layers[i], diffID)
			if err != nil {
				cancel(err) // The others are of no use without this one.
			}
			done[i] = desc
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	for i, diffID := range image.file.RootFS.DiffIDs {
		done[i] = done[first[diffID]]
	}
	return done, nil
}

func (w layerWork) one(ctx context.Context, name string, diffID v1.Hash) (v1.Descriptor, error) {
	if desc, ok := w.known[diffID]; ok {
		err := w.client.uploadLayer(ctx, knownLayer(diffID, desc))
		if !errors.Is(err, errNotThere) {
			return desc, err
		}
	}
	packed, err := w.pack(ctx, name, diffID)
	if err != nil {
		return v1.Descriptor{}, err
	}
	w.progress.total.Add(packed.desc.Size)
	return packed.desc, w.client.uploadLayer(ctx, packed)
}

func (w layerWork) pack(ctx context.Context, name string, diffID v1.Hash) (layer, error) {
	select {
	case w.packing <- struct{}{}:
		defer func() { <-w.packing }()
	case <-ctx.Done():
		return layer{}, ctx.Err()
	}
	section, err := w.archive.open(name)
	if err != nil {
		return layer{}, local("read layer", err)
	}
	packed, err := pack(ctx, section, diffID, w.dir)
	if ctx.Err() != nil {
		return layer{}, ctx.Err()
	}
	return packed, local("compress layer", err)
}

// uploadLayer checks for the blob first and sends it only if it is missing.
func (c *Client) uploadLayer(ctx context.Context, l v1.Layer) error {
	return c.retry(ctx, func() error { return c.pusher.Upload(ctx, c.repo, l) })
}

// uploadOCI pushes everything below the manifest; what the registry has is
// skipped. A repeated attempt sends only what is left.
func (c *Client) uploadOCI(ctx context.Context, archive *Archive, image manifest) error {
	progress := c.progress()
	defer progress.stop()
	for _, part := range archive.images {
		for _, desc := range part.oci.Layers {
			progress.total.Add(desc.Size)
		}
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	return c.retry(ctx, func() error { return c.pusher.Push(ctx, c.repo.Digest(digest.String()), image) })
}

// progress reports every half second how much was sent, while sending.
type progress struct {
	total atomic.Int64
	stop  func()
}

func (c *Client) progress() *progress {
	p, done := &progress{}, make(chan struct{})
	var wait sync.WaitGroup
	p.stop = sync.OnceFunc(func() {
		close(done)
		wait.Wait()
	})
	start := c.sent.Load()
	emit := func() {
		if total := p.total.Load(); total > 0 {
			sent := min(c.sent.Load()-start, total)
			c.sink.Emit(report.Event{Kind: report.Progress, Message: "upload", Done: sent, Total: total})
		}
	}
	wait.Go(func() {
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				emit()
			case <-done:
				emit()
				return
			}
		}
	})
	return p
}

// newManifest joins config and layers. The bytes depend on nothing else.
func newManifest(config layer, layers []v1.Descriptor) (rawManifest, error) {
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.DockerManifestSchema2,
		Config:        config.desc,
		Layers:        layers,
	}
	for _, desc := range layers {
		if desc.MediaType == types.OCILayerZStd { // Docker's own types have no zstd.
			m.MediaType, m.Config.MediaType = types.OCIManifestSchema1, types.OCIConfigJSON
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return rawManifest{}, err
	}
	return rawManifest{raw: raw, mediaType: m.MediaType}, nil
}

// rawManifest is a finished manifest.
type rawManifest struct {
	raw       []byte
	mediaType types.MediaType
}

var _ remote.Taggable = rawManifest{}

func (m rawManifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }
func (m rawManifest) Digest() (v1.Hash, error) {
	return v1.NewHash(sha256Digest(m.raw))
}
