package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/lease"
)

// Jobs of one release that work on a host each cannot compare their machines
// with each other's. They meet on the lease host: each leaves there the name by
// which it reached a machine.

// maxEntry bounds what is read of such a file.
const maxEntry = 1024

// meet records the machines of this job beside the lease, and refuses one that
// another job of the release reached by another name.
func (r *run) meet(ctx context.Context, store lease.Store) error {
	if r.outside || r.surveyed.Load() || r.whole() {
		return nil
	}
	var wg sync.WaitGroup
	found := r.survey.identities()
	errs := make([]error, 0, len(found))
	var mu sync.Mutex
	for name, id := range found {
		wg.Go(func() {
			err := r.meetOne(ctx, store, name, id)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Go(func() { r.forgetShards(ctx, store) })
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) meetOne(ctx context.Context, store lease.Store, name string, id host.Identity) error {
	sum := sha256.Sum256([]byte(id.Engine + "\x00" + id.Name + "\x00" + id.Boot))
	file := path.Join(machines(store), r.Release, hex.EncodeToString(sum[:8]))
	err := store.Files.Create(ctx, file, []byte(name), 0o644)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("record the machine of %s: %w", name, err)
	}
	other, err := store.Files.Read(ctx, file)
	if err != nil {
		return fmt.Errorf("read which machine another job works on: %w", err)
	}
	if text := string(other[:min(len(other), maxEntry)]); text != name && r.Config.Names(text) {
		return oneMachine(r.Config, text, name, id)
	}
	return nil
}

// machines is the folder of the names by which jobs reached their machines.
func machines(store lease.Store) string { return path.Join(store.Dir, "machines") }

func (s *survey) identities() map[string]host.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]host.Identity, len(s.found))
	for name, id := range s.found {
		if id.Engine != "" {
			all[name] = id
		}
	}
	return all
}
