package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Below is a path that Remove and RemoveTree take. Only Under and Inside make
// one, so that no text that came from a host reaches a removal unchecked.
type Below struct {
	root  string
	names []string
	err   error
}

// Under is the path of these names below a root. The root is a folder whose
// path kstep made: it is absolute and clean, and has at least two names. A name
// may come from a host: it is one name, not `.` or `..`, without control
// characters. A removal reports what is wrong.
func Under(root string, names ...string) Below {
	b := Below{root: root, names: names}
	switch {
	case !path.IsAbs(root) || path.Clean(root) != root || strings.Count(root, "/") < 2 || !printable(root):
		b.err = fmt.Errorf("%q is no folder that kstep removes from: it is not an absolute, clean path of two names", root)
	case len(names) == 0:
		b.err = fmt.Errorf("%q is not removed: a name below it is missing", root)
	}
	for _, name := range names {
		if b.err == nil && !IsName(name) {
			b.err = fmt.Errorf("%q below %s is not removed: it is no name of a file", name, root)
		}
	}
	return b
}

// Inside is Under for a whole path, which has to lie below the root.
func Inside(root, file string) Below {
	rest, below := strings.CutPrefix(file, root+"/")
	b := Under(root, strings.Split(rest, "/")...)
	if b.err == nil && !below {
		b.err = fmt.Errorf("%q is not removed: it does not lie below %s", file, root)
	}
	return b
}

// IsName reports whether a text is the name of one file or folder: not a path,
// and without control characters.
func IsName(text string) bool {
	return text != "" && text != "." && text != ".." && !strings.Contains(text, "/") && printable(text)
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// Err is why nothing is removed by this path, or nil.
func (b Below) Err() error {
	if b.err == nil && b.root == "" {
		return errors.New("no path to remove")
	}
	return b.err
}

// String is the path.
func (b Below) String() string { return path.Join(b.root, path.Join(b.names...)) }

// What a removal expects at the end of the path.
const (
	aFile = false
	aTree = true
)

// parts are the paths from the root down.
func (b Below) parts() []string {
	parts := []string{b.root}
	for _, name := range b.names {
		parts = append(parts, path.Join(parts[len(parts)-1], name))
	}
	return parts
}

// expect looks at each part of the path, from the root down, all at once. None
// before the last may be a link: below a link lies another folder. It reports
// whether there is something to remove.
func (b Below) expect(tree bool, lstat func(path string) (fs.FileInfo, error)) (there bool, err error) {
	parts := b.parts()
	infos, errs := make([]fs.FileInfo, len(parts)), make([]error, len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Go(func() { infos[i], errs[i] = lstat(part) })
	}
	all.Wait()
	for i, info := range infos {
		last := i == len(parts)-1
		switch {
		case missing(errs[i]):
			return false, nil
		case errs[i] != nil:
			return false, errs[i]
		case !last && !info.IsDir():
			return false, fmt.Errorf("%s is %s, not a folder", parts[i], kindOf(info))
		case last && info.IsDir() && !tree:
			return false, errors.New("it is a folder, not a file")
		}
	}
	return true, nil
}

func kindOf(info fs.FileInfo) string {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return "a link"
	case info.Mode().IsRegular():
		return "a file"
	default:
		return "no file"
	}
}
