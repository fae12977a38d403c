package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"

	"github.com/kstep/kstep/internal/engine"
)

// temporary writes a complete file under a temporary name in dir and returns
// that name.
func temporary(ctx context.Context, c *sftp.Client, dir, file string, data []byte, perm fs.FileMode) (string, error) {
	tmp := temporaryName(dir, file)
	err := writeNew(ctx, c, tmp, file, data, perm)
	if missing(err) {
		if err := mkdirAll(c, dir, parentPerm(perm)); err != nil {
			return "", err
		}
		err = writeNew(ctx, c, tmp, file, data, perm)
	}
	return tmp, err
}

// writeNew makes a file that was not there. What fails is taken away again,
// but the cause is looked for before: afterwards there is space again.
func writeNew(ctx context.Context, c *sftp.Client, name, final string, data []byte, perm fs.FileMode) error {
	opened, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		if _, look := c.Lstat(name); look == nil {
			return fs.ErrExist
		}
		return full(c, final, len(data), err)
	}
	_, canSync := c.HasExtension("fsync@openssh.com")
	steps := []func() error{
		func() error { return opened.Chmod(perm.Perm()) }, // While empty: a secret must not be readable too early.
		func() error { return writeAll(opened, data) },
		func() error {
			if !canSync {
				return nil
			}
			return opened.Sync()
		},
		func() error { return checkLength(opened, len(data)) },
	}
	for _, step := range steps {
		if err = engine.Ended(ctx); err == nil {
			err = step()
		}
		if err != nil {
			break
		}
	}
	if closing := opened.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return errors.Join(full(c, final, len(data), err), c.Remove(name))
	}
	return nil
}

// appendTo writes at the end. OpenSSH finds the end itself at each write, so that
// of several writers none overwrites another; a server that does not know how
// goes by the offset.
func appendTo(ctx context.Context, c *sftp.Client, file string, data []byte, perm fs.FileMode) (size int64, err error) {
	opened, err := c.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return 0, full(c, file, len(data), err)
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	end, err := opened.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if end == 0 {
		if err := opened.Chmod(perm.Perm()); err != nil {
			return 0, err
		}
	}
	if err := engine.Ended(ctx); err != nil {
		return 0, err
	}
	_, err = opened.Write(data)
	return end + int64(len(data)), full(c, file, len(data), err)
}

func writeAll(to *sftp.File, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	_, err := to.ReadFrom(bytes.NewReader(data))
	return err
}

func checkLength(of *sftp.File, want int) error {
	info, err := of.Stat()
	if err != nil {
		return err
	}
	if info.Size() != int64(want) {
		return fmt.Errorf("%w: wrote %d bytes, the host has %d", errShort, want, info.Size())
	}
	return nil
}

var errShort = errors.New("the file is not complete")

// full finds out whether a failure, for which SFTP has only one status, is a
// full disk.
func full(c *sftp.Client, file string, need int, err error) error {
	if err == nil || ctxEnded(err) {
		return err
	}
	text := strings.ToLower(err.Error())
	if strings.Contains(text, "no space left") || strings.Contains(text, "quota exceeded") {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !(ok && status.FxCode() == sftp.ErrSSHFxFailure) && !errors.Is(err, errShort) {
		return err
	}
	if _, ok := c.HasExtension("statvfs@openssh.com"); !ok {
		return err
	}
	space, look := c.StatVFS(path.Dir(file))
	if look != nil {
		return err
	}
	if space.Bavail*space.Frsize < uint64(need)+space.Frsize || space.Files > 0 && space.Favail == 0 {
		return ErrDiskFull // The server's own word says no more than that it failed.
	}
	return err
}

func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
