package host

import (
	"crypto/rand"
	"io/fs"
	"path"
	"strings"
)

const (
	temporaryMark = ".kstep-"
	temporaryEnd  = ".tmp" // Traefik's file provider passes over it.
)

// temporaryName is beside the final name, because a rename does not cross
// file systems, and hidden, because folders are watched.
func temporaryName(final string) string {
	dir, base := path.Split(final)
	return dir + "." + base + temporaryMark + strings.ToLower(rand.Text()[:10]) + temporaryEnd
}

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
