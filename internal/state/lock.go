package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/platform"
)

// lockPause is the time between two tries for a lock that another process has.
const lockPause = 50 * time.Millisecond

// Lock keeps other kstep processes on this machine from doing the same work in
// the folder, until unlock is called or this process ends, however it does. It
// waits for one that is at it, and calls busy once before that. name is a stage,
// with its shard, or a command. The folder has to exist.
func (d *Dir) Lock(ctx context.Context, name string, busy func()) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(d.path, "."+name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, exit.With(exit.BadState, fmt.Errorf("lock the state folder: %w", err), folderHint)
	}
	for told := false; ; told = true {
		err := platform.TryLock(file)
		switch {
		case err == nil:
			return func() { file.Close() }, nil
		case !errors.Is(err, platform.ErrLocked):
			return func() { file.Close() }, nil // A file system without locks.
		case !told:
			busy()
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}
