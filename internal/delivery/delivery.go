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
	push    state.PushOutputs
	archive string

	once   sync.Once
	packed *registry.Packed // Once it was opened.
	err    error            // Why it could not be.
}

// New prepares the delivery of an image without a registry. archive is its file, which is
// opened when the first host needs it.
func New(archive string, push state.PushOutputs) *Delivery {
	return &Delivery{push: push, archive: archive}
}

func (d *Delivery) open() (*registry.Packed, error) {
	d.once.Do(func() { d.packed, d.err = registry.Pack(d.archive, d.push.Image) })
	return d.packed, d.err
}

// Close removes what was made on this machine. It is called after all other methods.
func (d *Delivery) Close() error {
	if d.packed == nil {
		return nil
	}
	return d.packed.Close()
}

// Sent is what a delivery took.
type Sent struct {
	// Bytes went to the host, of Size, which all layers have; 0 if it is not known.
	Bytes, Size int64
	// Streamed is why the engine could not fetch what it lacks; nil if it could.
	Streamed error
	// Forgotten is why the host does not remember the layers; the next delivery has more
	// work then.
	Forgotten error
}

// To brings the image to a host, under its reference. layers is a file on the host that
// remembers the layers that its engine has pulled. progress may be nil; it gets the sums
// over the layers that are fetched. exit.MissingState, engine.ErrDiskFull.
func (d *Delivery) To(ctx context.Context, h host.Host, layers string, progress func(done, total int64, msg string)) (Sent, error) {
	packed, err := d.open()
	if err != nil {
		return Sent{}, err
	}
	p := &pull{Delivery: d, host: h, packed: packed, known: readLayers(ctx, h, layers), progress: progress}
	was := p.known
	err = p.persist(ctx)
	if errors.Is(err, errNotReached) {
		p.sent.Streamed = err
		err = d.stream(ctx, packed, h, &p.sent)
		return p.sent, err
	}
	if err == nil {
		err = d.name(ctx, h, p.name)
	}
	if err != nil {
		return p.sent, err
	}
	p.sent.Forgotten = errors.Join(sweep(ctx, h.Engine(), d.push.Repository), writeLayers(ctx, h, layers, was, p.layers))
	return p.sent, engine.Ended(ctx)
}

// name gives what was pulled its reference. Another delivery of the same image may have
// done so, and have taken the name away by which it was pulled.
func (d *Delivery) name(ctx context.Context, h host.Host, pulled string) error {
	err := h.Engine().Tag(ctx, pulled, d.push.Reference())
	if errors.Is(err, engine.ErrNotFound) {
		have, gone := h.Engine().Image(ctx, d.push.Reference())
		if gone == nil && d.push.HasLayers(have.DiffIDs) {
			return nil
		}
	}
	return err
}

// errNotReached is an engine that cannot reach this process.
var errNotReached = errors.New("the engine cannot fetch the image through SSH")

const (
	// maxCuts is how often a pull is begun again that a broken connection ended, and
	// maxResent how many times the size of the image goes to a host for it at most.
	maxCuts   = 10
	maxResent = 3
)

// pull is the delivery to one host whose engine fetches the image.
type pull struct {
	*Delivery
	host     host.Host
	packed   *registry.Packed
	known    map[string]registry.Blob
	progress func(done, total int64, msg string)

	sent   Sent
	name   string
	layers map[string]registry.Blob
}

// persist pulls until the engine has the image. It goes on after connections that broke,
// as long as they are not too many; and what a host remembers wrongly of its layers costs
// one attempt. All other failures are the engine's last word.
func (p *pull) persist(ctx context.Context) error {
	cuts := 0
	for {
		err := p.once(ctx)
		switch {
		case err == nil || engine.Ended(ctx) != nil || errors.Is(err, errNotReached) || errors.Is(err, engine.ErrDiskFull):
			return err
		case errors.Is(err, registry.ErrCut) || errors.Is(err, host.ErrConnectionLost) || errors.Is(err, engine.ErrUnreachable):
			if cuts++; cuts > maxCuts || p.sent.Bytes > maxResent*max(p.sent.Size, 1<<20) {
				return fmt.Errorf("the connection broke off %d times while the image was sent: %w", cuts, err)
			}
		case len(p.known) > 0:
			p.known = nil
		default:
			return err
		}
	}
}

func (p *pull) once(ctx context.Context) error {
	offer, err := p.packed.Offer(ctx, p.push.Repository, p.known)
	if err != nil {
		return err
	}
	l, err := p.host.Listen(ctx)
	if errors.Is(err, host.ErrForwardingForbidden) {
		return fmt.Errorf("%w: %w", errNotReached, err)
	}
	if err != nil {
		return err
	}
	p.layers = offer.Layers()
	p.name, err = offer.Pull(ctx, p.host.Engine(), l, p.progress)
	p.sent.Bytes, p.sent.Size = p.sent.Bytes+offer.Sent(), offer.Size()
	switch own := offer.Failure(); {
	case err == nil:
		return nil
	case own != nil && !errors.Is(own, registry.ErrStale):
		return own
	case !offer.Reached() && !errors.Is(err, registry.ErrCut) && !errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrDiskFull):
		return fmt.Errorf("%w: %w", errNotReached, err)
	}
	return err
}

// sweep takes the names away by which engines have pulled images of the repository from
// kstep, now or in a delivery that was killed: the port in them is another one each time.
func sweep(ctx context.Context, e *engine.Client, repository string) error {
	images, err := e.Images(ctx, engine.Filter{Reference: "127.0.0.1:*/" + repository})
	if err != nil {
		return err
	}
	for _, image := range images {
		for _, name := range image.Digests {
			at, ours := strings.CutPrefix(name, "127.0.0.1:")
			_, below, _ := strings.Cut(at, "/")
			if !ours || !strings.HasPrefix(below, repository+"@") {
				continue
			}
			if err := e.RemoveImage(ctx, name); err != nil && !errors.Is(err, engine.ErrConflict) {
				return err
			}
		}
	}
	return nil
}

// maxLayers is how many layers a host's file remembers.
const maxLayers = 1000

// readLayers returns nothing where there is no such file, or none that is of use: it saves
// work, and is made anew.
func readLayers(ctx context.Context, h host.Host, file string) map[string]registry.Blob {
	data, err := h.Files().Read(ctx, file)
	var known map[string]registry.Blob
	if err != nil || json.Unmarshal(data, &known) != nil || len(known) > maxLayers {
		return nil
	}
	digests := map[string]bool{}
	for _, blob := range known {
		digests[blob.Digest] = true
	}
	if len(digests) < len(known) { // No blob is two layers.
		return nil
	}
	return known
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
