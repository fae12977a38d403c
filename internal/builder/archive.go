package builder

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/platform"
)

// File is a written archive.
type File struct {
	Digest string // sha256:…
	Size   int64
}

// WriteArchive replaces dir/name with what produce writes, whole or not at all,
// and returns its digest, computed while writing. A temporary file that a
// killed kstep left is used again or removed.
func WriteArchive(dir, name string, produce func(io.Writer) error) (File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return File{}, err
	}
	sweep(dir, name)
	tmp := temporary(dir, name)
	file, err := lock(tmp)
	if err != nil {
		return File{}, exit.With(exit.Failed, fmt.Errorf("image archive %s: %w", tmp, err))
	}
	written, err := fill(file, produce)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		// Removed while locked, so never the file of another process.
		return File{}, archiveError(name, errors.Join(err, os.Remove(tmp), file.Close()))
	}
	return written, file.Close()
}

func fill(file *os.File, produce func(io.Writer) error) (File, error) {
	if err := file.Truncate(0); err != nil {
		return File{}, err
	}
	digest := sha256.New()
	out := &remembering{inner: io.MultiWriter(file, digest)}
	if err := produce(out); err != nil {
		// With a closed pipe, the program reports only that.
		return File{}, cmp.Or(out.err, err)
	}
	size, err := file.Seek(0, io.SeekCurrent)
	return File{Digest: "sha256:" + hex.EncodeToString(digest.Sum(nil)), Size: size}, err
}

// remembering keeps the first error of a writer.
type remembering struct {
	inner io.Writer
	err   error
}

func (r *remembering) Write(p []byte) (int, error) {
	n, err := r.inner.Write(p)
	if r.err == nil {
		r.err = err
	}
	return n, err
}

func archiveError(name string, err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return exit.With(exit.Failed, fmt.Errorf("image archive %s: %w", name, err), "make room on the disk of the state folder")
	}
	return err
}

// temporary is hidden, so that no artifact uploader takes it along.
func temporary(dir, name string) string { return filepath.Join(dir, "."+name+".tmp") }

var errBusy = errors.New("another kstep is writing it")

// lock opens a file that only one process holds; the lock ends with the
// process, however that ends.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := platform.TryLock(file); err != nil {
		if errors.Is(err, platform.ErrLocked) {
			err = errBusy
		}
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// sweep removes the temporary files of other archives that no process writes.
func sweep(dir, name string) {
	left, err := filepath.Glob(filepath.Join(dir, ".image-*.tar.tmp"))
	if err != nil {
		return // Only a bad pattern.
	}
	for _, path := range left {
		if path == temporary(dir, name) {
			continue
		}
		if file, err := lock(path); err == nil {
			_ = os.Remove(path) // It only takes room.
			_ = file.Close()
		}
	}
}

// Intact reports whether a file still is what WriteArchive wrote.
func Intact(path string, want File) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() != want.Size {
		return false
	}
	digest := sha256.New()
	if _, err := io.CopyBuffer(digest, file, make([]byte, 1<<20)); err != nil {
		return false
	}
	return "sha256:"+hex.EncodeToString(digest.Sum(nil)) == want.Digest
}
