package registry

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kstep/kstep/internal/state"
)

// Packed is an image archive whose layers are compressed when they are needed, once for
// all hosts. Its methods may be called from several goroutines at once.
type Packed struct {
	archive *Archive
	dir     string
	ctx     context.Context // Until Close.
	cancel  context.CancelFunc
	packing sync.WaitGroup

	mu     sync.Mutex
	layers map[v1.Hash]*packing // By diff ID.
}

// packing is a layer that is being compressed, or was.
type packing struct {
	done  chan struct{}
	layer layer
	err   error
}

// Pack opens the archive of an image, to be offered or streamed. exit.MissingState,
// exit.BadState.
func Pack(file string, image state.Image) (*Packed, error) {
	archive, err := openFor(file, image)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kstep-layers-")
	if err != nil {
		return nil, errors.Join(local("make temporary folder", err), archive.Close())
	}
	p := &Packed{archive: archive, dir: dir, layers: map[v1.Hash]*packing{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Close ends what is being compressed, and removes what was.
func (p *Packed) Close() error {
	p.cancel()
	p.packing.Wait()
	return errors.Join(p.archive.Close(), os.RemoveAll(p.dir))
}

// layer is one of the archive's, compressed for the first that needs it. The others wait,
// each as long as it wants to. A failure is tried again by the next one.
func (p *Packed) layer(ctx context.Context, name string, diffID v1.Hash) (layer, error) {
	p.mu.Lock()
	one := p.layers[diffID]
	if one == nil {
		one = &packing{done: make(chan struct{})}
		p.layers[diffID] = one
		p.packing.Go(func() {
			defer close(one.done)
			if one.layer, one.err = p.pack(name, diffID); one.err != nil {
				p.mu.Lock()
				delete(p.layers, diffID)
				p.mu.Unlock()
			}
		})
	}
	p.mu.Unlock()
	select {
	case <-one.done:
		return one.layer, one.err
	case <-ctx.Done():
		return layer{}, context.Cause(ctx)
	}
}

func (p *Packed) pack(name string, diffID v1.Hash) (layer, error) {
	section, err := p.archive.open(name)
	if err != nil {
		return layer{}, local("read layer", err)
	}
	packed, err := pack(p.ctx, section, diffID, p.dir)
	return packed, local("compress layer", err)
}

// DiffIDs are the digests of the layers of the image for a platform.
func (p *Packed) DiffIDs(platform string) ([]string, error) {
	image, err := p.forPlatform(platform)
	var ids []string
	for _, id := range image.file.RootFS.DiffIDs {
		ids = append(ids, id.String())
	}
	return ids, err
}

// forPlatform is the image for a platform such as `linux/arm64`: the one of just this name,
// or one of another variant. A single image is for whatever engine wants it.
func (p *Packed) forPlatform(wanted string) (archiveImage, error) {
	images := p.archive.images
	at := slices.IndexFunc(images, func(i archiveImage) bool { return platform(i.file) == wanted })
	if at < 0 {
		at = slices.IndexFunc(images, func(i archiveImage) bool {
			return strings.HasPrefix(platform(i.file)+"/", wanted+"/") || strings.HasPrefix(wanted+"/", platform(i.file)+"/")
		})
	}
	if at < 0 && len(images) == 1 {
		at = 0
	}
	if at < 0 {
		return archiveImage{}, errors.New("the image archive has no image for " + wanted)
	}
	return images[at], nil
}
