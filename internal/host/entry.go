package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

const (
	temporaryMark = ".kstep-"
	temporaryEnd  = ".tmp" // Traefik's file provider passes over it.
)

// temporaryName is in the same file system as the final name, because a rename
// does not cross them, and hidden.
func temporaryName(dir, final string) string {
	return path.Join(dir, "."+path.Base(final)+temporaryMark+strings.ToLower(rand.Text()[:10])+temporaryEnd)
}

// TemporaryPattern matches, as `find -name` does, what a Write that was killed
// leaves behind.
const TemporaryPattern = ".*" + temporaryMark + "*" + temporaryEnd

func isTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, temporaryMark) && strings.HasSuffix(name, temporaryEnd)
}

// parentPerm is the mode of folders that are made on the way to a file.
func parentPerm(perm fs.FileMode) fs.FileMode {
	if perm&0o007 == 0 {
		return 0o700
	}
	return 0o755
}

func entry(info fs.FileInfo) Entry {
	return Entry{Name: info.Name(), Size: info.Size(), Mode: info.Mode(), Modified: info.ModTime(), IsDir: info.IsDir()}
}

// visible sorts, and drops what interrupted writes left.
func visible(entries []Entry) []Entry {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return isTemporary(e.Name) })
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// fileError says what was done with which file, and what can be done about it.
func fileError(host, name, path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*exit.Error](err); ok {
		return fmt.Errorf("%s %s: %w", name, path, err)
	}
	wrapped := fmt.Errorf("%s %s on %s: %w", name, path, host, err)
	switch {
	case errors.Is(err, ErrDiskFull):
		return exit.With(exit.Failed, wrapped, fmt.Sprintf("free space on %s: df -h, docker system df", host))
	case broken(err):
		return exit.With(exit.Unreachable, wrapped)
	default:
		return wrapped
	}
}
