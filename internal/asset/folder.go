package asset

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/host"
)

// The kinds of an asset path's folders.
const (
	own      = "own" // The image's files. No container mounts it.
	readOnly = "ro"  // Merged, and mounted read-only.
	writable = "rw"  // Merged, and mounted so that the container can write.
	earlier  = "all" // As writable, made by a kstep that knew no other mounts.
)

// folder is <root>/<image>/<name>/<kind>.
type folder struct{ root, image, name, kind string }

func (f folder) path() string { return path.Join(f.root, f.image, f.name, f.kind) }

// folderAt reads a path that a container has mounted.
func folderAt(root, source string) (folder, bool) {
	below, ok := strings.CutPrefix(source, root+"/")
	parts := strings.Split(below, "/")
	if !ok || len(parts) != 3 || slices.ContainsFunc(parts, func(name string) bool { return !host.IsName(name) }) ||
		!slices.Contains([]string{readOnly, writable, earlier}, parts[2]) {
		return folder{}, false
	}
	return folder{root, parts[0], parts[1], parts[2]}, true
}

// folder is where an asset path of the image lives.
func (b Bridge) folder(assetPath, kind string) folder {
	flat := func(p string) string { return strings.ReplaceAll(strings.Trim(p, "/"), "/", "_") }
	name := flat(assetPath)
	if at := slices.Index(b.Paths, assetPath); slices.ContainsFunc(b.Paths[:max(0, at)], func(p string) bool { return flat(p) == name }) {
		name = fmt.Sprintf("%s_%d", name, at) // /a_b beside /a/b.
	}
	return folder{b.Root, path.Base(b.Dir), name, kind}
}

// merged is the folder that the image's containers mount.
func (b Bridge) merged(assetPath string) folder {
	if b.Writable[assetPath] {
		return b.folder(assetPath, writable)
	}
	return b.folder(assetPath, readOnly)
}

// all are the merged folder, and those that containers of the image have in its
// place: a rollback starts them again as they were made.
func (b Bridge) all(assetPath string) []folder {
	found := []folder{b.merged(assetPath)}
	for _, c := range b.Containers {
		for _, m := range c.Mounts {
			f, ok := folderAt(b.Root, m.Source)
			if ok && f.image == path.Base(b.Dir) && m.Target == assetPath && !slices.Contains(found, f) {
				found = append(found, f)
			}
		}
	}
	return found
}

// tree is a folder in which no container can write, now or when it is started.
// Commands on the host take nothing else: what a container writes can lead them
// to any path. Only the method tree makes one.
type tree struct{ path string }

// tree is false for a folder that a container can write.
func (b Bridge) tree(f folder) (tree, bool) {
	if len(b.writers(f)) > 0 {
		return tree{}, false
	}
	return tree{f.path()}, true
}

// own holds the files of an asset path as they are in the image.
func (b Bridge) own(assetPath string) tree { return b.ownOf(b.folder(assetPath, own)) }

// ownOf holds the image's files that a merged folder was made from.
func (b Bridge) ownOf(f folder) tree {
	f.kind = own
	t, _ := b.tree(f) // The empty tree, which no command takes, if a container should write there.
	return t
}

// writers are the containers that can write in the folder, those that run first.
func (b Bridge) writers(f folder) []engine.Container {
	var up, down []engine.Container
	for _, c := range b.Containers {
		switch {
		case !slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool { return !m.ReadOnly && f.holds(m.Source) }):
		case c.Up():
			up = append(up, c)
		default:
			down = append(down, c)
		}
	}
	return append(up, down...)
}

// isMounted reports whether a container has the folder, in whatever state it is.
func (b Bridge) isMounted(f folder) bool {
	return slices.ContainsFunc(b.Containers, func(c engine.Container) bool {
		return slices.ContainsFunc(c.Mounts, func(m engine.Mount) bool { return f.holds(m.Source) })
	})
}

func (f folder) holds(source string) bool {
	return source == f.path() || strings.HasPrefix(source, f.path()+"/")
}
