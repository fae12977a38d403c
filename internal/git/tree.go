package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// treeDigest writes the work tree as a git tree into a throw-away index and
// object folder: git's own idea of content, free of times, and quick because
// the copied index knows which files were not touched.
func (r repository) treeDigest(ctx context.Context, specs []string) (digest string, dirty bool, err error) {
	tmp, err := os.MkdirTemp("", "kstep-tree-")
	if err != nil {
		return "", false, err
	}
	defer os.RemoveAll(tmp)
	env, err := r.scratch(ctx, tmp)
	if err != nil {
		return "", false, err
	}
	if _, err := r.run(ctx, env, append([]string{"add", "--all", "--"}, specs...)...); err != nil {
		return "", false, err
	}
	tree, err := r.output(ctx, env, "write-tree")
	if err != nil {
		return "", false, err
	}
	head, err := r.output(ctx, nil, "rev-parse", "HEAD^{tree}")
	if err != nil {
		return "", false, err
	}
	links, err := r.links(ctx, env, tree)
	if err != nil {
		return "", false, err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, tree)
	dirty = tree != head
	for _, link := range links {
		// A tree names a submodule's commit only; what changed inside it counts too.
		module := repository{root: filepath.Join(r.root, filepath.FromSlash(link.path))}
		if !module.populated() {
			continue
		}
		inner, innerDirty, err := module.treeDigest(ctx, []string{":/"})
		if err != nil {
			return "", false, fmt.Errorf("submodule %s: %w", link.path, err)
		}
		dirty = dirty || innerDirty
		fmt.Fprintln(hash, link.path, inner)
	}
	return hex.EncodeToString(hash.Sum(nil)), dirty, nil
}

// scratch makes an index and an object folder in tmp and returns the
// environment that makes git use them.
func (r repository) scratch(ctx context.Context, tmp string) ([]string, error) {
	out, err := r.output(ctx, nil, "rev-parse", "--git-path", "index", "--git-path", "objects")
	if err != nil {
		return nil, err
	}
	paths := strings.Split(out, "\n")
	for i, path := range paths {
		if !filepath.IsAbs(path) {
			paths[i] = filepath.Join(r.root, path)
		}
	}
	index := filepath.Join(tmp, "index")
	objects := filepath.Join(tmp, "objects")
	if err := os.Mkdir(objects, 0o700); err != nil {
		return nil, err
	}
	if err := copyIndex(paths[0], index); err != nil {
		return nil, err
	}
	return []string{
		"GIT_INDEX_FILE=" + index,
		"GIT_OBJECT_DIRECTORY=" + objects,
		"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + quotePath(paths[1]),
	}, nil
}

// copyIndex keeps the time of the file: git compares it with the times of the
// entries to find those that changed within its resolution.
func copyIndex(from, to string) error {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Nothing was ever added; git starts an empty one.
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// quotePath follows git: in a list of folders, one with a colon is quoted.
func quotePath(path string) string {
	if !strings.ContainsAny(path, `:"`) {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// link is a submodule in a tree.
type link struct{ path, commit string }

// links lists the submodules of a tree. It looks for .gitmodules first, for
// listing a big tree takes time and most have none.
func (r repository) links(ctx context.Context, env []string, tree string) ([]link, error) {
	if _, err := r.run(ctx, env, "cat-file", "-e", tree+":.gitmodules"); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, nil
	}
	out, err := r.output(ctx, env, "ls-tree", "-r", "-z", "--full-tree", tree)
	if err != nil {
		return nil, err
	}
	var links []link
	for entry := range strings.SplitSeq(out, "\x00") {
		meta, path, _ := strings.Cut(entry, "\t")
		if fields := strings.Fields(meta); len(fields) == 3 && fields[0] == "160000" {
			links = append(links, link{path: path, commit: fields[2]})
		}
	}
	return links, nil
}

func (r repository) populated() bool {
	_, err := os.Lstat(filepath.Join(r.root, ".git"))
	return err == nil
}
