package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/registry"
)

// stream sends the image, but for the first layers that the newest release of the service
// has on the host. An engine that wants them nevertheless gets them all.
func (d *Delivery) stream(ctx context.Context, packed *registry.Packed, h host.Host, sent *Sent) error {
	info, err := h.Engine().Info(ctx)
	if err != nil {
		return err
	}
	without := 0
	if !info.Containerd { // Which wants all of an image's layers.
		if without, err = d.shared(ctx, packed, h, info.Platform()); err != nil {
			return err
		}
	}
	for left := streams; ; left-- {
		bytes, err := d.load(ctx, packed, h, info.Platform(), without)
		sent.Bytes += bytes
		broke := errors.Is(err, engine.ErrUnreachable) || errors.Is(err, host.ErrConnectionLost)
		switch {
		case err == nil || engine.Ended(ctx) != nil || errors.Is(err, engine.ErrDiskFull) || left == 1:
			return err
		case !broke && without == 0:
			return err
		case !broke:
			without = 0
		}
	}
}

// streams is how often an image is sent as a stream at most.
const streams = 3

// shared is how many of the image's first layers the newest release's image has.
func (d *Delivery) shared(ctx context.Context, packed *registry.Packed, h host.Host, platform string) (int, error) {
	own, err := packed.DiffIDs(platform)
	if err != nil || len(d.push.Tags) == 0 {
		return 0, err
	}
	newest, err := h.Engine().Image(ctx, d.push.Repository+":"+d.push.Tags[len(d.push.Tags)-1])
	if errors.Is(err, engine.ErrNotFound) {
		return 0, nil
	}
	for i, id := range newest.DiffIDs {
		if i == len(own) || id != own[i] {
			return i, err
		}
	}
	return len(newest.DiffIDs), err
}

// standstill is how long an engine may take nothing of a stream, and be silent after its end.
const standstill = 10 * time.Minute

func (d *Delivery) load(ctx context.Context, packed *registry.Packed, h host.Host, platform string, without int) (bytes int64, err error) {
	loading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, writer := io.Pipe()
	counted := &counter{to: writer, still: time.AfterFunc(standstill, func() {
		cancel(fmt.Errorf("%w: the engine on %s took nothing of the image for %s", engine.ErrUnreachable, h.Name(), standstill))
	})}
	defer counted.still.Stop()
	var streaming sync.WaitGroup
	var own error
	streaming.Go(func() {
		own = packed.Stream(loading, counted, platform, d.push.Reference(), without)
		writer.CloseWithError(own)
	})
	err = h.Engine().LoadImage(loading, reader)
	reader.Close()
	streaming.Wait()
	if err != nil && own != nil && !errors.Is(own, io.ErrClosedPipe) && loading.Err() == nil {
		err = own
	}
	return counted.n.Load(), err
}

// counter counts what goes through it, and sets a clock back that runs while nothing does.
type counter struct {
	to    io.Writer
	still *time.Timer
	n     atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n.Add(int64(n))
	c.still.Reset(standstill)
	return n, err
}
