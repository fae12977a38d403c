package host

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
)

// Identity distinguishes one machine from all others, whatever name, address or
// user leads to it.
type Identity struct {
	// Engine is the engine's own ID. Machines cloned from one image share it.
	Engine string
	// Name is the machine's own host name, as its engine reports it.
	Name string
	// Boot is the kernel's boot ID, which no two machines share. Containers that
	// act as machines share their kernel's, but not the engine's ID. Empty where
	// it cannot be read.
	Boot string
}

// Same reports whether both are one machine. An identity without an engine's ID
// is equal to none.
func (i Identity) Same(o Identity) bool {
	return i.Engine != "" && i.Engine == o.Engine && i.Name == o.Name &&
		(i.Boot == o.Boot || i.Boot == "" || o.Boot == "")
}

// bootFile holds the kernel's boot ID: random(4).
const bootFile = "/proc/sys/kernel/random/boot_id"

// maxIdentity bounds each part of an identity. They come from the machine.
const maxIdentity = 256

// Identify reads a machine's identity: one request to the engine and one file,
// at the same time.
func Identify(ctx context.Context, h Host) (Identity, error) {
	var id Identity
	var info engine.Info
	var infoErr, bootErr error
	var wg sync.WaitGroup
	wg.Go(func() { info, infoErr = h.Engine().Info(ctx) })
	wg.Go(func() {
		var boot []byte
		boot, bootErr = h.Files().Read(ctx, bootFile)
		id.Boot = bounded(strings.TrimSpace(string(boot)))
		if errors.Is(bootErr, fs.ErrNotExist) || errors.Is(bootErr, fs.ErrPermission) {
			bootErr = nil // Another system, or an SFTP server that hides it.
		}
	})
	wg.Wait()
	id.Engine, id.Name = bounded(info.ID), bounded(info.Name)
	return id, errors.Join(infoErr, bootErr)
}

func bounded(text string) string { return text[:min(len(text), maxIdentity)] }

// Reached waits until a host is connected, as Get does. A failed attempt that
// Warm began stays for the Get that follows, which does not make another one.
func (p *Pool) Reached(ctx context.Context, name string) (Host, error) {
	h, err := p.host(name)
	if err != nil {
		return nil, err
	}
	r, ok := h.(*remote)
	if !ok {
		return h, nil
	}
	if a := r.warming.Load(); a != nil {
		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, engine.Ended(ctx)
		}
	}
	return h, r.reach(ctx)
}
