// Package delivery brings an image to hosts without a registry: from its archive, through
// the SSH connections that kstep has anyway. Each host's engine pulls from a registry in
// this process, by a port of its own loopback that SSH forwards here, so it fetches only
// the layers that it lacks. Where that is not possible, the image is streamed to it.
package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/state"
)

// Delivery is one image for several hosts. Its methods may be called from several
// goroutines at once.
type Delivery struct {
	push state.PushOutputs
	open func() (*registry.Packed, error)
	used bool // Guarded by mu.
	mu   sync.Mutex
}

// New prepares the delivery of an image without a registry. archive is its file, which is
// opened when the first host needs it.
func New(archive string, push state.PushOutputs) *Delivery {
	d := &Delivery{push: push}
	d.open = sync.OnceValues(func() (*registry.Packed, error) {
		d.mu.Lock()
		d.used = true
		d.mu.Unlock()
		return registry.Pack(archive, push.Image)
	})
	return d
}

// Close removes what was made on this machine.
func (d *Delivery) Close() error {
	d.mu.Lock()
	used := d.used
	d.mu.Unlock()
	if !used {
		return nil
	}
	packed, err := d.open()
	if err != nil {
		return nil //nolint:nilerr // The hosts that needed it have reported it.
	}
	return packed.Close()
}

// Sent is what a delivery took.
type Sent struct {
	// Bytes went to the host, of Size, which all layers have.
	Bytes, Size int64
	// Streamed is why the engine could not fetch what it lacks; nil if it could.
	Streamed error
}

// attempts is how often a delivery is begun again that broke off before any byte more was
// fetched than by the one before.
const attempts = 3

// To brings the image to a host, under its reference. layers is a file on the host that
// remembers the layers that its engine has pulled. progress may be nil; it gets the sums
// over the layers that are fetched. exit.MissingState, engine.ErrDiskFull.
func (d *Delivery) To(ctx context.Context, h host.Host, layers string, progress func(done, total int64, msg string)) (Sent, error) {
	packed, err := d.open()
	if err != nil {
		return Sent{}, err
	}
	known, err := readLayers(ctx, h, layers)
	if err != nil {
		return Sent{}, err
	}
	sent, pulled, err := d.pull(ctx, packed, h, known, progress)
	if errors.Is(err, errNotReached) {
		sent.Streamed = err
		sent.Bytes, err = d.stream(ctx, packed, h)
		return sent, err
	}
	if err != nil {
		return sent, err
	}
	if err := h.Engine().Tag(ctx, pulled.name, d.push.Reference()); err != nil {
		return sent, err
	}
	return sent, errors.Join(d.forgetPorts(ctx, h), writeLayers(ctx, h, layers, known, pulled.layers))
}

// errNotReached is an engine that cannot reach this process.
var errNotReached = errors.New("the engine cannot fetch the image through SSH")

// pulled is what an engine has after a pull.
type pulled struct {
	name   string
	layers map[string]registry.Blob
}

func (d *Delivery) pull(ctx context.Context, packed *registry.Packed, h host.Host, known map[string]registry.Blob, progress func(done, total int64, msg string)) (sent Sent, got pulled, err error) {
	for left := attempts; left > 0; left-- {
		offer, err := packed.Offer(ctx, d.push.Repository, known)
		if err != nil {
			return sent, got, err
		}
		l, err := h.Listen(ctx)
		if errors.Is(err, host.ErrForwardingForbidden) {
			return sent, got, fmt.Errorf("%w: %w", errNotReached, err)
		}
		if err != nil {
			return sent, got, err
		}
		name, err := offer.Pull(ctx, h.Engine(), l, progress)
		sent.Bytes, sent.Size = sent.Bytes+offer.Sent(), offer.Size()
		got = pulled{name, offer.Layers()}
		switch {
		case err == nil:
			return sent, got, nil
		case engine.Ended(ctx) != nil || errors.Is(err, engine.ErrDiskFull):
			return sent, got, err
		case offer.Stale():
			known = nil
		case !errors.Is(err, registry.ErrCut) && !offer.Reached() && errors.Is(err, engine.ErrRegistry):
			return sent, got, fmt.Errorf("%w: %w", errNotReached, err)
		case left == 1:
			return sent, got, err
		case offer.Sent() > 0: // It broke off in the middle, and got on.
			left = attempts + 1
		}
	}
	return sent, got, err
}

// stream sends the image, but for the first layers that the newest release of the service
// has on the host. An engine that wants them nevertheless gets them all.
func (d *Delivery) stream(ctx context.Context, packed *registry.Packed, h host.Host) (bytes int64, err error) {
	info, err := h.Engine().Info(ctx)
	if err != nil {
		return 0, err
	}
	without := 0
	if !info.Containerd { // Which wants all of an image's layers.
		if without, err = d.shared(ctx, h); err != nil {
			return 0, err
		}
	}
	bytes, err = d.load(ctx, packed, h, info.Platform(), without)
	if err != nil && without > 0 && engine.Ended(ctx) == nil && !errors.Is(err, engine.ErrDiskFull) {
		var again int64
		again, err = d.load(ctx, packed, h, info.Platform(), 0)
		bytes += again
	}
	return bytes, err
}

// shared is how many of the image's first layers the newest release's image has.
func (d *Delivery) shared(ctx context.Context, h host.Host) (int, error) {
	newest, err := h.Engine().Image(ctx, d.push.Repository+":"+d.push.Tags[len(d.push.Tags)-1])
	if errors.Is(err, engine.ErrNotFound) {
		return 0, nil
	}
	for i, id := range newest.DiffIDs {
		if i == len(d.push.DiffIDs) || id != d.push.DiffIDs[i] {
			return i, err
		}
	}
	return len(newest.DiffIDs), err
}

func (d *Delivery) load(ctx context.Context, packed *registry.Packed, h host.Host, platform string, without int) (bytes int64, err error) {
	reader, writer := io.Pipe()
	counted := &counter{to: writer}
	var streaming sync.WaitGroup
	var streamErr error
	streaming.Go(func() {
		streamErr = packed.Stream(ctx, counted, platform, d.push.Reference(), without)
		writer.CloseWithError(streamErr)
	})
	err = h.Engine().LoadImage(ctx, reader)
	reader.Close()
	streaming.Wait()
	if streamErr != nil && !errors.Is(streamErr, io.ErrClosedPipe) {
		err = streamErr
	}
	return counted.n, err
}

type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// forgetPorts takes the names away by which the image was pulled, now or by a delivery that
// was killed: the port in them is another one each time.
func (d *Delivery) forgetPorts(ctx context.Context, h host.Host) error {
	image, err := h.Engine().Image(ctx, d.push.Reference())
	if err != nil {
		return err
	}
	for _, name := range image.Digests {
		at, below := strings.CutPrefix(name, "127.0.0.1:")
		port, repository, _ := strings.Cut(at, "/")
		if !below || strings.Trim(port, "0123456789") != "" || !strings.HasPrefix(repository, d.push.Repository+"@") {
			continue
		}
		if err := h.Engine().RemoveImage(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// maxLayers is how many layers a host's file remembers.
const maxLayers = 1000

func readLayers(ctx context.Context, h host.Host, file string) (map[string]registry.Blob, error) {
	data, err := h.Files().Read(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known map[string]registry.Blob
	if json.Unmarshal(data, &known) != nil || len(known) > maxLayers {
		return nil, nil // It saves work, and is made anew.
	}
	return known, nil
}

// writeLayers adds the layers of an image to those of earlier ones.
func writeLayers(ctx context.Context, h host.Host, file string, known, layers map[string]registry.Blob) error {
	all := maps.Clone(known)
	if all == nil || len(all)+len(layers) > maxLayers {
		all = map[string]registry.Blob{}
	}
	maps.Copy(all, layers)
	if maps.Equal(all, known) {
		return nil
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return h.Files().Write(ctx, file, append(data, '\n'), 0o644)
}

// Missing is the failure of a host that has to have an image which is in no archive here.
func Missing(push state.PushOutputs, on string) error {
	return exit.With(exit.MissingState, fmt.Errorf("%s does not have the image %s, and there is no registry to pull it from", on, push.Reference()),
		"deploy that version again: check out its commit and run kstep deploy")
}
