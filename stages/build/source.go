package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kstep/kstep/internal/builder"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/git"
	"github.com/kstep/kstep/internal/registry"
	"github.com/kstep/kstep/internal/state"
	"github.com/kstep/kstep/stages"
)

// source is where the build context comes from.
type source struct {
	// context is a folder or URL that is built as it is; empty means a clean
	// copy of commit.
	context string
	git     git.Source
	commit  string
	// inputs is the digest of all that the image is made from, or empty if
	// that is not known.
	inputs string
}

// locate decides what is built.
func locate(ctx context.Context, in stages.Input) (source, error) {
	dir := filepath.Dir(in.Config.Path)
	switch where := in.Config.Builder.Context; {
	case where == "":
		return fromCommit(ctx, in, dir)
	case remote(where):
		return source{context: where}, nil
	default:
		if !filepath.IsAbs(where) {
			where = filepath.Join(dir, where)
		}
		return fromTree(ctx, in, where)
	}
}

// remote follows docker's idea of a context that is not a folder.
func remote(where string) bool {
	return strings.Contains(where, "://") || strings.HasPrefix(where, "git@") || strings.HasPrefix(where, "github.com/")
}

func fromCommit(ctx context.Context, in stages.Input, dir string) (source, error) {
	head, err := git.Head(ctx, dir)
	if errors.Is(err, git.ErrNotRepository) {
		return source{}, exit.With(exit.Config, fmt.Errorf("the build is made from a commit, but %w", err),
			"set builder.context: . to build the folder with uncommitted changes")
	}
	if err != nil {
		return source{}, err
	}
	src := source{git: head, commit: head.Commit}
	// The version was made from that commit; HEAD may have moved on since.
	if commit := in.Source.Commit; commit != "" {
		src.commit = commit
	}
	src.inputs, err = inputs(in, src.commit, head.Prefix)
	return src, err
}

func fromTree(ctx context.Context, in stages.Input, dir string) (source, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return source{}, exit.With(exit.Config, fmt.Errorf("builder.context: %s is no folder", dir), "it is relative to the folder of kstep.yml")
	}
	src := source{context: dir}
	described, err := git.Describe(ctx, dir, in.StateDir)
	if err != nil && !errors.Is(err, git.ErrNotRepository) && !errors.Is(err, git.ErrNoCommit) {
		return source{}, err
	}
	files, err := footprint(ctx, dir, in.StateDir)
	if err != nil {
		return source{}, fmt.Errorf("look through %s: %w", dir, err)
	}
	src.git = described
	src.inputs, err = inputs(in, described.TreeDigest, files)
	warnOfStateDir(in, dir)
	return src, err
}

// within gives do the folder to build, and takes a clean copy away again.
func (s *source) within(ctx context.Context, in stages.Input, do func(dir string) (*state.BuildOutputs, error)) (*state.BuildOutputs, error) {
	if s.context != "" {
		return do(s.context)
	}
	tmp, err := os.MkdirTemp("", "kstep-build-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	warnings, err := git.Export(ctx, s.git.Root, s.commit, tmp)
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return nil, exit.Hint(err, "make room in the temporary folder, or point TMPDIR elsewhere")
		}
		return nil, err
	}
	for _, warning := range warnings {
		in.Warn("%s", warning)
		s.inputs = "" // What is missing may be there the next time.
	}
	return do(filepath.Join(tmp, filepath.FromSlash(s.git.Prefix)))
}

// inside completes the spec for a context that is there now.
func inside(spec builder.Spec, dir string) (builder.Spec, error) {
	spec.Context = dir
	if remote(dir) {
		return spec, nil
	}
	file := filepath.Join(dir, spec.Dockerfile)
	if _, err := os.Stat(file); err != nil {
		return spec, exit.With(exit.Config, fmt.Errorf("builder.dockerfile: there is no %s in the build context", spec.Dockerfile),
			"commit it, or set builder.context: . to build the working tree",
			"builder.dockerfile is relative to the build context")
	}
	spec.Dockerfile = file
	return spec, nil
}

// inputs digests what the image is made from. Secrets count by name only.
func inputs(in stages.Input, content ...string) (string, error) {
	b := in.Config.Builder
	b.Cache.From, b.Cache.To = nil, nil // They make it faster, not different.
	data, err := json.Marshal(struct {
		Content   []string
		Reference string
		Service   string
		Builder   any
	}{content, registry.Repository(in.Config) + ":" + in.Version, in.Config.Service, b})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// footprint digests names, sizes and times of all files in a folder. git's
// digest does not see ignored files, which a build context does contain; when
// in doubt the builder's own cache decides whether something changed.
func footprint(ctx context.Context, dir, stateDir string) (string, error) {
	skip, err := filepath.Abs(stateDir)
	if err != nil {
		return "", err
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if entry.IsDir() {
			if path == skip || entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil // Its own time changes with the state folder in it.
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(hash, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// warnOfStateDir warns of building each image into the next one.
func warnOfStateDir(in stages.Input, dir string) {
	abs, err := filepath.Abs(in.StateDir)
	if err != nil {
		return
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || !filepath.IsLocal(rel) || ignored(root, in.Config.Builder.Dockerfile, rel) {
		return
	}
	in.Warn("the state folder %s is inside the build context: add the line %s to .dockerignore, so that image archives are not built into images", in.StateDir, rel)
}

func ignored(root, dockerfile, folder string) bool {
	data, err := os.ReadFile(filepath.Join(root, dockerfile+".dockerignore"))
	if err != nil {
		data, err = os.ReadFile(filepath.Join(root, ".dockerignore"))
	}
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		pattern := strings.Trim(strings.TrimPrefix(strings.TrimSpace(line), "./"), "/")
		pattern = strings.TrimPrefix(strings.TrimSuffix(pattern, "/**"), "**/")
		if match, err := filepath.Match(pattern, folder); pattern != "" && err == nil && match {
			return true
		}
	}
	return false
}
