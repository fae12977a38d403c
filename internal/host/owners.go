package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/pkg/sftp"

	"github.com/kstep/kstep/internal/platform"
)

// Owners is who owns what on a host.
type Owners struct {
	// User is the ID of the user whose rights kstep has there.
	User uint32
	// Groups are the IDs of that user's groups.
	Groups []uint32
	// Found are the paths that are there and may be looked at.
	Found map[string]Owned
}

// Owned is the owner and the mode of a file, a folder or a link itself.
type Owned struct {
	User, Group uint32
	Mode        fs.FileMode
}

// statusFile has the user and the groups of the process that reads it: proc(5).
const statusFile = "/proc/self/status"

// statusPart is enough for the lines up to the groups, and less than the whole
// file has, so that one request gets all of it.
const statusPart = 512

// Owners sends all its requests at the same time.
func (f remoteFiles) Owners(ctx context.Context, paths []string) (Owners, error) {
	if len(paths) == 0 {
		return Owners{}, fmt.Errorf("look at owners on %s: %w", f.r.name, fs.ErrInvalid)
	}
	var result *Owners
	err := f.do(ctx, "owners", paths[0], true, func(ctx context.Context, c *sftp.Client) error {
		var owners Owners
		var accountErr error
		var all sync.WaitGroup
		all.Go(func() { owners.User, owners.Groups, accountErr = f.account(ctx, c) })
		found, err := lstatAll(paths, c.Lstat, func(info fs.FileInfo) (user, group uint32, ok bool) {
			sys, ok := info.Sys().(*sftp.FileStat)
			if !ok {
				return 0, 0, false
			}
			return sys.UID, sys.GID, true
		})
		all.Wait()
		owners.Found = found
		result = &owners
		return errors.Join(accountErr, err)
	})
	if err != nil {
		return Owners{}, err
	}
	return *result, nil
}

// account is the user that the SFTP server runs as: by one read, and by a
// command where there is no /proc.
func (f remoteFiles) account(ctx context.Context, c *sftp.Client) (user uint32, groups []uint32, err error) {
	text, err := statusOf(c)
	if err == nil {
		if user, groups, ok := parseStatus(text); ok {
			return user, groups, nil
		}
	} else if broken(err) {
		return 0, nil, err
	}
	conn, err := f.r.conn(ctx)
	if err != nil {
		return 0, nil, err
	}
	printed := &output{left: maxNoise}
	if err := conn.run(ctx, []string{"sh", "-c", "id -u && id -G"}, nil, printed); err != nil {
		return 0, nil, fmt.Errorf("find out the user: %w", err)
	}
	out := printed.buf.Bytes()
	numbers := strings.Fields(string(out))
	if len(numbers) < 2 {
		return 0, nil, fmt.Errorf("find out the user: id printed %q", excerpt(out))
	}
	ids, ok := parseIDs(numbers)
	if !ok {
		return 0, nil, fmt.Errorf("find out the user: id printed %q", excerpt(out))
	}
	return ids[0], ids[1:], nil
}

func statusOf(c *sftp.Client) (string, error) {
	file, err := c.Open(statusFile)
	if err != nil {
		return "", err
	}
	defer func() { go file.Close() }() // Its answer changes nothing.
	part := make([]byte, statusPart)
	n, err := file.ReadAt(part, 0)
	if _, groups, _ := bytes.Cut(part[:n], []byte("\nGroups:")); bytes.ContainsRune(groups, '\n') {
		return string(part[:n]), nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	rest := make([]byte, 1<<20) // A user may have 65,536 groups.
	more, err := file.ReadAt(rest, int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(part[:n]) + string(rest[:more]), nil
}

// parseStatus reads the IDs that count for access to files.
func parseStatus(text string) (user uint32, groups []uint32, ok bool) {
	line := func(name string) []string {
		_, rest, _ := strings.Cut("\n"+text, "\n"+name+":")
		rest, _, _ = strings.Cut(rest, "\n")
		return strings.Fields(rest)
	}
	users, primary := line("Uid"), line("Gid")
	if len(users) != 4 || len(primary) != 4 {
		return 0, nil, false
	}
	ids, ok := parseIDs(append([]string{users[3], primary[3]}, line("Groups")...))
	if !ok {
		return 0, nil, false
	}
	return ids[0], ids[1:], true
}

func parseIDs(numbers []string) (ids []uint32, ok bool) {
	for _, number := range numbers {
		id, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, false
		}
		ids = append(ids, uint32(id))
	}
	return ids, true
}

// lstatAll looks at all paths at the same time. owner reads what the platform
// has about a file.
func lstatAll(paths []string, lstat func(string) (fs.FileInfo, error), owner func(fs.FileInfo) (user, group uint32, ok bool)) (map[string]Owned, error) {
	infos, errs := make([]fs.FileInfo, len(paths)), make([]error, len(paths))
	var all sync.WaitGroup
	for i, path := range paths {
		all.Go(func() { infos[i], errs[i] = lstat(path) })
	}
	all.Wait()
	found := map[string]Owned{}
	for i, path := range paths {
		switch err := plain(errs[i]); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		case errors.Is(err, syscall.ENOTDIR):
		case err != nil:
			return nil, err
		default:
			user, group, ok := owner(infos[i])
			if !ok {
				return nil, fmt.Errorf("%s: the owner is not reported", path)
			}
			found[path] = Owned{User: user, Group: group, Mode: infos[i].Mode()}
		}
	}
	return found, nil
}

// Owners is about this machine.
func (f localFiles) Owners(ctx context.Context, paths []string) (owners Owners, err error) {
	if len(paths) == 0 {
		return Owners{}, fmt.Errorf("look at owners on %s: %w", Local, fs.ErrInvalid)
	}
	err = f.do(ctx, "owners", paths[0], true, func(string) error {
		groups, err := os.Getgroups()
		if err != nil {
			return err
		}
		owners = Owners{User: id(os.Geteuid()), Groups: []uint32{id(os.Getegid())}}
		for _, group := range groups {
			if !slices.Contains(owners.Groups, id(group)) {
				owners.Groups = append(owners.Groups, id(group))
			}
		}
		lstat := func(path string) (fs.FileInfo, error) {
			if !filepath.IsAbs(path) {
				path = filepath.Join(f.l.home, path)
			}
			return os.Lstat(path)
		}
		owners.Found, err = lstatAll(paths, lstat, platform.OwnerOf)
		return err
	})
	return owners, err
}

// id is an ID of a user or a group as the kernel has it.
func id(number int) uint32 {
	if number < 0 || number > math.MaxUint32 {
		return math.MaxUint32 // The kernel's word for none.
	}
	return uint32(number)
}
