package kamal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// Write writes the files into a folder. It writes nothing if one of them is
// there already.
func (r *Result) Write(dir string) error {
	var there []string
	for _, f := range r.Files {
		if _, err := os.Lstat(filepath.Join(dir, f.Path)); err == nil {
			there = append(there, filepath.Join(dir, f.Path))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return exit.With(exit.Config, fmt.Errorf("write the import: %w", err))
		}
	}
	if len(there) > 0 {
		return exit.With(exit.Config, fmt.Errorf("the import would overwrite %s; nothing was written", strings.Join(there, ", ")),
			"move the files away, or write into another folder: --out DIR")
	}
	for _, f := range r.Files {
		if err := writeNew(filepath.Join(dir, f.Path), f); err != nil {
			return exit.With(exit.Config, fmt.Errorf("write the import: %w", err))
		}
	}
	return nil
}

func writeNew(path string, f File) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if f.Executable {
		perm = 0o755
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = out.Write(f.Data)
	return errors.Join(err, out.Close())
}
