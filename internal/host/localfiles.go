package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kstep/kstep/internal/engine"
)

func (l *local) Files() Files { return localFiles{l} }

// localFiles are this machine's files.
type localFiles struct{ l *local }

var _ Files = localFiles{}

func (f localFiles) do(ctx context.Context, name, path string, safe bool, call func(path string) error) error {
	abs := path
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(f.l.home, path)
	}
	err := f.l.do(ctx, Op{Kind: KindSFTP, Name: name, Path: path}, safe, func(context.Context) error { return call(abs) })
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return fileError(Local, name, path, err)
}

func (f localFiles) Home(ctx context.Context) (string, error) { return f.l.home, engine.Ended(ctx) }

func (f localFiles) Read(ctx context.Context, path string) (data []byte, err error) {
	err = f.do(ctx, "read", path, true, func(abs string) error {
		file, err := os.Open(abs)
		if err != nil {
			return err
		}
		data, err = limited(file)
		return errors.Join(err, file.Close())
	})
	return data, err
}

func (f localFiles) Write(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return f.WriteVia(ctx, filepath.Dir(path), path, data, perm)
}

func (f localFiles) WriteVia(ctx context.Context, dir, path string, data []byte, perm fs.FileMode) error {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(f.l.home, dir)
	}
	return f.do(ctx, "write", path, true, func(abs string) error {
		tmp, err := f.temporary(dir, abs, data, perm)
		if err != nil {
			return err
		}
		if err := os.Rename(tmp, abs); err != nil {
			return errors.Join(err, os.Remove(tmp))
		}
		return nil
	})
}

func (f localFiles) Create(ctx context.Context, path string, data []byte, perm fs.FileMode) error {
	return f.do(ctx, "create", path, false, func(abs string) error {
		tmp, err := f.temporary(filepath.Dir(abs), abs, data, perm)
		if err != nil {
			return err
		}
		defer os.Remove(tmp)
		return os.Link(tmp, abs)
	})
}

// temporary writes a complete file under a temporary name in dir.
func (f localFiles) temporary(dir, abs string, data []byte, perm fs.FileMode) (_ string, err error) {
	if err := mkdirLocal(dir, parentPerm(perm)); err != nil {
		return "", err
	}
	tmp := temporaryName(dir, abs)
	file, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	steps := []func() error{
		func() error { return file.Chmod(perm.Perm()) },
		func() error { _, err := file.Write(data); return err },
		file.Sync,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return "", errors.Join(err, file.Close())
		}
	}
	return tmp, file.Close()
}

func (f localFiles) Append(ctx context.Context, path string, data []byte, perm fs.FileMode) (size int64, err error) {
	err = f.do(ctx, "append", path, false, func(abs string) (err error) {
		file, err := os.OpenFile(abs, os.O_WRONLY|os.O_CREATE|os.O_APPEND, perm.Perm())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if _, err := file.Write(data); err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil {
			size = info.Size()
		}
		return err
	})
	return size, err
}

func (f localFiles) Remove(ctx context.Context, file Below) error {
	return f.remove(ctx, file, aFile, os.Remove)
}

func (f localFiles) RemoveTree(ctx context.Context, folder Below) error {
	return f.remove(ctx, folder, aTree, os.RemoveAll)
}

func (f localFiles) remove(ctx context.Context, what Below, tree bool, remove func(string) error) error {
	if err := what.Err(); err != nil {
		return err
	}
	return f.do(ctx, "remove", what.String(), true, func(abs string) error {
		there, err := what.expect(tree, os.Lstat)
		if err != nil || !there {
			return err
		}
		if err := remove(abs); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func (f localFiles) List(ctx context.Context, path string) (entries []Entry, err error) {
	err = f.do(ctx, "list", path, true, func(abs string) error {
		entries = nil
		found, err := os.ReadDir(abs)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, one := range found {
			info, err := one.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // Went away meanwhile.
			}
			if err != nil {
				return err
			}
			entries = append(entries, entry(info))
		}
		entries = visible(entries)
		return nil
	})
	return entries, err
}

func (f localFiles) Stat(ctx context.Context, path string) (found Entry, err error) {
	err = f.do(ctx, "stat", path, true, func(abs string) error {
		info, err := os.Stat(abs)
		if err == nil {
			found = entry(info)
		}
		return err
	})
	return found, err
}

func (f localFiles) Mkdir(ctx context.Context, path string, perm fs.FileMode) error {
	return f.do(ctx, "mkdir", path, true, func(abs string) error { return mkdirLocal(abs, perm) })
}

// mkdirLocal gives new folders exactly the mode, whatever the umask is.
func mkdirLocal(abs string, perm fs.FileMode) error {
	info, err := os.Stat(abs)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%w: it is a file", fs.ErrExist)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := mkdirLocal(filepath.Dir(abs), perm); err != nil {
		return err
	}
	if err := os.Mkdir(abs, perm.Perm()); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil // Another process was first.
		}
		return err
	}
	return os.Chmod(abs, perm.Perm())
}
