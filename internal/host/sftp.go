package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"

	"github.com/kstep/kstep/internal/engine"
)

// remoteFiles are a host's files over SFTP.
type remoteFiles struct{ r *remote }

var _ Files = remoteFiles{}

// do passes one method through the seam. call gets a context that it checks
// between steps, because the steps themselves take none.
func (f remoteFiles) do(ctx context.Context, name, file string, safe bool, call func(context.Context, *sftp.Client) error) error {
	return f.doFirst(ctx, name, file, safe, nil, call)
}

// doFirst is do with a way to do it in one round trip, where the host has a
// shell for that: quick fails with errOtherWay if it has to be done over SFTP.
func (f remoteFiles) doFirst(ctx context.Context, name, file string, safe bool, quick func(context.Context, *script) error, call func(context.Context, *sftp.Client) error) error {
	if file == "" || strings.ContainsRune(file, 0) {
		return fmt.Errorf("%s %q on %s: %w", name, file, f.r.name, fs.ErrInvalid)
	}
	err := f.r.do(ctx, Op{Kind: KindSFTP, Name: name, Path: file}, safe, func(outer context.Context) error {
		c, err := f.r.conn(outer)
		if err != nil {
			return err
		}
		return c.patiently(outer, func(ctx context.Context) error {
			ctx = within{ctx, outer}
			if quick != nil {
				c.startScript(ctx)
				// Without SFTP there is no way for the rest.
				if _, err := c.files(ctx); err != nil {
					return err
				}
				if shell := c.script(ctx); shell != nil {
					if err := quick(ctx, shell); !errors.Is(err, errOtherWay) {
						return err
					}
				}
				if err := engine.Ended(ctx); err != nil {
					return err
				}
			}
			sentElsewhere(ctx)
			files, err := c.files(ctx)
			if err != nil {
				return err
			}
			_, err = await(ctx, func() (struct{}, error) { return struct{}{}, call(ctx, files) })
			return err
		})
	})
	return fileError(f.r.name, name, file, plain(err))
}

// within is a context that also checks whether its outer context has ended:
// outer may have an Err of its own, which a derived context does not call.
type within struct {
	context.Context //nolint:containedctx // It is one.

	outer context.Context //nolint:containedctx // As above.
}

func (w within) Err() error {
	if err := w.Context.Err(); err != nil {
		return err
	}
	return w.outer.Err()
}

// plain gives SFTP's statuses the meaning that callers test for.
func plain(err error) error {
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok {
		return err
	}
	switch status.FxCode() {
	case sftp.ErrSSHFxNoSuchFile:
		return fmt.Errorf("%w", fs.ErrNotExist)
	case sftp.ErrSSHFxPermissionDenied:
		return fmt.Errorf("%w", fs.ErrPermission)
	default:
		return err
	}
}

func missing(err error) bool { return errors.Is(plain(err), fs.ErrNotExist) }

func (f remoteFiles) Home(ctx context.Context) (home string, err error) {
	f.r.mu.Lock()
	home = f.r.home
	f.r.mu.Unlock()
	if home != "" {
		return home, nil
	}
	var found string
	err = f.doFirst(ctx, "home", ".", true, func(_ context.Context, s *script) error {
		found = s.home
		return nil
	}, func(_ context.Context, c *sftp.Client) (err error) {
		found, err = c.RealPath(".")
		return err
	})
	if err != nil {
		return "", err
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.home = found
	return found, nil
}

func (f remoteFiles) Read(ctx context.Context, file string) ([]byte, error) {
	// A call that is left behind must not share the result: each has its own.
	var result *[]byte
	err := f.doFirst(ctx, "read", file, true, func(ctx context.Context, s *script) error {
		data, err := s.request(ctx, "read", scriptPath(file))
		if err == nil {
			result = &data
		}
		return err
	}, func(_ context.Context, c *sftp.Client) error {
		data, err := readAll(c, file)
		if err == nil {
			result = &data
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return *result, nil
}

func readAll(c *sftp.Client, file string) ([]byte, error) {
	opened, err := c.Open(file)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	_, err = opened.WriteTo(&capped{&buf, MaxRead})
	return buf.Bytes(), errors.Join(err, opened.Close())
}

// capped refuses what is more than is left. SFTP's own WriteTo reads several
// packets at once, which a limited reader would do one by one.
type capped struct {
	to   *bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, ErrTooLarge
	}
	return c.to.Write(p)
}

func (f remoteFiles) Write(ctx context.Context, file string, data []byte, perm fs.FileMode) error {
	return f.WriteVia(ctx, path.Dir(file), file, data, perm)
}

func (f remoteFiles) WriteVia(ctx context.Context, dir, file string, data []byte, perm fs.FileMode) error {
	return f.doFirst(ctx, "write", file, true, func(ctx context.Context, s *script) error {
		return s.put(ctx, "write", dir, file, data, perm)
	}, func(ctx context.Context, c *sftp.Client) error {
		if _, ok := c.HasExtension("posix-rename@openssh.com"); !ok {
			return errors.New("the SFTP server cannot replace a file in one step (posix-rename@openssh.com)")
		}
		tmp, err := temporary(ctx, c, dir, file, data, perm)
		if err != nil {
			return err
		}
		if err := engine.Ended(ctx); err != nil {
			return errors.Join(err, c.Remove(tmp))
		}
		if err := c.PosixRename(tmp, file); err != nil {
			return errors.Join(full(c, file, 0, err), c.Remove(tmp))
		}
		return nil
	})
}

// Create looks at a file that is there after an attempt whose answer was lost:
// a file with the same content counts as created.
func (f remoteFiles) Create(ctx context.Context, file string, data []byte, perm fs.FileMode) error {
	tries := 0
	return f.doFirst(ctx, "create", file, true, func(ctx context.Context, s *script) error {
		if tries > 0 {
			return errOtherWay
		}
		tries++
		err := s.put(ctx, "create", path.Dir(file), file, data, perm)
		if errors.Is(err, errOtherWay) && !errors.Is(err, errShellEnded) {
			tries-- // It was not done.
		}
		return err
	}, func(ctx context.Context, c *sftp.Client) error {
		tries++
		err := create(ctx, c, file, data, perm)
		if tries > 1 && errors.Is(err, fs.ErrExist) {
			if have, look := readAll(c, file); look == nil && bytes.Equal(have, data) {
				return nil
			}
		}
		return err
	})
}

func create(ctx context.Context, c *sftp.Client, file string, data []byte, perm fs.FileMode) error {
	tmp, err := temporary(ctx, c, path.Dir(file), file, data, perm)
	if err != nil {
		return err
	}
	defer c.Remove(tmp) //nolint:errcheck // Hidden, and List passes over it.
	if err := engine.Ended(ctx); err != nil {
		return err
	}
	if _, ok := c.HasExtension("hardlink@openssh.com"); ok {
		// A link is made complete or not at all, and never over a file.
		err := c.Link(tmp, file)
		if err == nil {
			return nil
		}
		if _, look := c.Lstat(file); look == nil {
			return fs.ErrExist
		}
		if failure := full(c, file, 0, err); errors.Is(failure, ErrDiskFull) || missing(err) {
			return failure
		}
	}
	// A file system without links: exclusive still, but a reader may see
	// it half written.
	return writeNew(ctx, c, file, file, data, perm)
}

// Append, like Create, looks at what is there after an attempt whose answer was
// lost: where the file ends with the data, it was added.
func (f remoteFiles) Append(ctx context.Context, file string, data []byte, perm fs.FileMode) (int64, error) {
	tries := 0
	var result *int64
	err := f.doFirst(ctx, "append", file, true, func(ctx context.Context, s *script) error {
		if tries > 0 {
			return errOtherWay
		}
		tries++
		size, err := s.append(ctx, file, data, perm)
		result = &size
		return err
	}, func(ctx context.Context, c *sftp.Client) error {
		tries++
		if tries > 1 {
			if have, look := readAll(c, file); look == nil && bytes.HasSuffix(have, data) {
				result = new(int64(len(have)))
				return nil
			}
		}
		size, err := appendTo(ctx, c, file, data, perm)
		result = &size
		return err
	})
	if err != nil {
		return 0, err
	}
	return *result, nil
}

func (f remoteFiles) Remove(ctx context.Context, file Below) error {
	return f.remove(ctx, file, aFile)
}

func (f remoteFiles) RemoveTree(ctx context.Context, folder Below) error {
	return f.remove(ctx, folder, aTree)
}

// remove goes by one command for a folder with anything in it, because SFTP
// needs a question and a request for each entry.
func (f remoteFiles) remove(ctx context.Context, what Below, tree bool) error {
	if err := what.Err(); err != nil {
		return err
	}
	file := what.String()
	return f.doFirst(ctx, "remove", file, true, func(ctx context.Context, s *script) error {
		return s.remove(ctx, what.parts())
	}, func(ctx context.Context, c *sftp.Client) error {
		there, err := what.expect(tree, c.Lstat)
		if err != nil || !there {
			return err
		}
		err = c.Remove(file)
		if err == nil || missing(err) {
			return nil
		}
		info, look := c.Lstat(file)
		if missing(look) {
			return nil
		}
		if !tree || look != nil || !info.IsDir() {
			return err
		}
		conn, err := f.r.conn(ctx)
		if err != nil {
			return err
		}
		if wait, ok := ctx.Value(unhurried{}).(func()); ok {
			wait() // The SFTP server says nothing meanwhile.
		}
		return conn.run(ctx, []string{"rm", "-rf", "--", file}, nil, io.Discard)
	})
}

func (f remoteFiles) List(ctx context.Context, folder string) ([]Entry, error) {
	var found []fs.FileInfo
	var listed *[]Entry
	err := f.doFirst(ctx, "list", folder, true, func(ctx context.Context, s *script) error {
		entries, err := s.list(ctx, folder)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err == nil {
			listed = &entries
		}
		return err
	}, func(ctx context.Context, c *sftp.Client) error {
		infos, err := f.readDir(ctx, c, folder)
		if missing(err) {
			// OpenSSH's server gives the same answer where a file is in the way.
			if info, look := c.Stat(folder); look == nil && !info.IsDir() {
				return errors.New("it is a file, not a folder")
			}
			return nil
		}
		found = infos
		return err
	})
	if err != nil {
		return nil, err
	}
	if listed != nil {
		return visible(*listed), nil
	}
	var entries []Entry
	for _, info := range found {
		entries = append(entries, entry(info))
	}
	return visible(entries), nil
}

// readDir stops at a list without an end: the library takes all of it.
func (f remoteFiles) readDir(ctx context.Context, c *sftp.Client, folder string) ([]fs.FileInfo, error) {
	conn, err := f.r.conn(ctx)
	if err != nil {
		return nil, err
	}
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if received, ok := conn.metered(c); ok { // Else the connection is a new one, and this client is gone.
		defer received.atMost(maxList, func() { stop(ErrLargeFolder) })()
	}
	infos, err := c.ReadDirContext(within, folder)
	if errors.Is(context.Cause(within), ErrLargeFolder) {
		return nil, ErrLargeFolder
	}
	return infos, err
}

func (f remoteFiles) Stat(ctx context.Context, file string) (Entry, error) {
	var found fs.FileInfo
	var stated *Entry
	err := f.doFirst(ctx, "stat", file, true, func(ctx context.Context, s *script) error {
		e, err := s.stat(ctx, file)
		if err == nil {
			stated = &e
		}
		return err
	}, func(_ context.Context, c *sftp.Client) (err error) {
		found, err = c.Stat(file)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	if stated != nil {
		return *stated, nil
	}
	return entry(found), nil
}

func (f remoteFiles) Mkdir(ctx context.Context, folder string, perm fs.FileMode) error {
	return f.doFirst(ctx, "mkdir", folder, true, func(ctx context.Context, s *script) error {
		_, err := s.request(ctx, "mkdir", scriptMode(perm), scriptPath(folder))
		return err
	}, func(_ context.Context, c *sftp.Client) error {
		return mkdirAll(c, folder, perm)
	})
}

// mkdirAll tries the folder itself first, so an existing parent costs nothing.
// New folders get exactly the mode, whatever the server's umask is.
func mkdirAll(c *sftp.Client, folder string, perm fs.FileMode) error {
	err := c.Mkdir(folder)
	if err == nil {
		return c.Chmod(folder, perm.Perm())
	}
	if missing(err) && !slices.Contains([]string{".", "/", ""}, folder) {
		if err := mkdirAll(c, path.Dir(folder), perm); err != nil {
			return err
		}
		if err = c.Mkdir(folder); err == nil {
			return c.Chmod(folder, perm.Perm())
		}
	}
	info, look := c.Stat(folder)
	switch {
	case look != nil:
		return full(c, path.Dir(folder), 0, err)
	case !info.IsDir():
		return fmt.Errorf("%w: it is a file", fs.ErrExist)
	default:
		return nil
	}
}
