package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/platform"
)

// Export writes the files of a commit into the empty folder dest, as a fresh
// clone would have them but without .git: filters (line ends, LFS) and
// submodules included, modes 0644 or 0755 whatever the umask, times those of
// the commit. So two machines build from the same bytes, and the checkout's
// credentials never enter a build context. The warnings name submodules that
// the checkout does not hold; their folders stay empty.
func Export(ctx context.Context, root, commit, dest string) (warnings []string, err error) {
	repo := repository{root: root}
	if warnings, err = repo.export(ctx, commit, dest); err != nil {
		if full(dest) { // git only says that it could not write.
			err = errors.Join(syscall.ENOSPC, err)
		}
		return nil, fmt.Errorf("copy commit %s: %w", commit, err)
	}
	stamp, err := repo.output(ctx, nil, "show", "--no-patch", "--format=%ct", commit)
	if err != nil {
		return nil, err
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read time of commit %s: %w", commit, err)
	}
	if err := normalize(ctx, dest, time.Unix(seconds, 0)); err != nil {
		return nil, err
	}
	return warnings, nil
}

// full reports whether a folder's disk has no room for even a small file.
func full(dir string) bool {
	free, err := platform.FreeBytes(dir)
	return err == nil && free < 64<<10
}

func (r repository) export(ctx context.Context, commit, dest string) (warnings []string, err error) {
	gitDir, err := r.output(ctx, nil, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return nil, err
	}
	index, err := os.MkdirTemp("", "kstep-index-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(index)
	env := []string{
		"GIT_DIR=" + gitDir,
		"GIT_WORK_TREE=" + dest,
		"GIT_INDEX_FILE=" + filepath.Join(index, "index"),
	}
	// In dest, so that paths in messages and in filters are those of the copy.
	if _, err := (repository{root: dest}).run(ctx, env, "-c", "core.sparseCheckout=false", "-c", "core.splitIndex=false",
		"read-tree", "--reset", "-u", commit); err != nil {
		return nil, err
	}
	links, err := r.links(ctx, nil, commit+"^{tree}")
	if err != nil {
		return nil, err
	}
	for _, link := range links {
		module := repository{root: filepath.Join(r.root, filepath.FromSlash(link.path))}
		target := filepath.Join(dest, filepath.FromSlash(link.path))
		if err := os.MkdirAll(target, 0o755); err != nil {
			return nil, err
		}
		if !module.populated() {
			warnings = append(warnings, fmt.Sprintf("submodule %s is not checked out, so the build sees an empty folder; git submodule update --init --recursive fills it", link.path))
			continue
		}
		inner, err := module.export(ctx, link.commit, target)
		if err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("submodule %s: %w", link.path, err),
				"git submodule update --init --recursive")
		}
		warnings = append(warnings, inner...)
	}
	return warnings, nil
}

// normalize gives every file the mode that git knows and the time of the
// commit. Symbolic links keep their own time: builders ignore it.
func normalize(ctx context.Context, dir string, when time.Time) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o644)
		if entry.IsDir() || info.Mode()&0o100 != 0 {
			want = 0o755
		}
		if info.Mode().Perm() != want {
			if err := os.Chmod(path, want); err != nil {
				return err
			}
		}
		return os.Chtimes(path, when, when)
	})
}
