// Package git reads what a build needs from a git checkout: the commit, a
// digest of its uncommitted changes, and a clean copy of the commit. It drives
// the git program, so that filters, attributes and submodules behave as the
// user's git does. It never changes the checkout, its index or its objects.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

// ErrNotRepository reports that a folder is not in a git checkout, or that
// there is no git program.
var ErrNotRepository = errors.New("not in a git checkout")

// ErrNoCommit reports that a checkout has no commit yet.
var ErrNoCommit = errors.New("the git checkout has no commit yet")

// Source is a checkout as a build sees it.
type Source struct {
	// Root is the top folder of the checkout, Prefix the given folder below it,
	// with slashes, or empty for Root itself.
	Root   string
	Prefix string
	// Commit is HEAD's full id.
	Commit string
	// Dirty reports whether tracked files differ from HEAD or files are neither
	// tracked nor ignored.
	Dirty bool
	// TreeDigest is a sha256 in hex of every tracked and every untracked file
	// that is not ignored: names, modes, contents, never times.
	TreeDigest string
}

// Describe returns the commit of the checkout that dir is in, and whether and
// how its files differ. Folders in exclude, such as the state folder, are left
// out of the comparison.
func Describe(ctx context.Context, dir string, exclude ...string) (Source, error) {
	src, err := Head(ctx, dir)
	if err != nil {
		return Source{}, err
	}
	repo := repository{root: src.Root}
	src.TreeDigest, src.Dirty, err = repo.treeDigest(ctx, repo.pathspecs(ctx, exclude))
	if err != nil {
		return src, fmt.Errorf("compare the checkout with its commit: %w", err)
	}
	return src, nil
}

// Head is Describe without the comparison: one look at the commit.
func Head(ctx context.Context, dir string) (Source, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Source{}, err
	}
	repo := repository{root: abs}
	out, err := repo.output(ctx, nil, "rev-parse", "--show-toplevel", "--show-prefix")
	if err != nil {
		return Source{}, notRepository(abs, err)
	}
	root, prefix, _ := strings.Cut(out, "\n")
	src := Source{Root: root, Prefix: strings.Trim(prefix, "\n/")}
	commit, err := repo.output(ctx, nil, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return src, ctx.Err()
		}
		return src, exit.With(exit.Config, fmt.Errorf("%s: %w", root, ErrNoCommit), "commit your files first, or pass --version")
	}
	src.Commit = commit
	return src, nil
}

// Has reports whether the checkout that dir is in holds a commit of that full
// id.
func Has(ctx context.Context, dir, commit string) bool {
	_, err := repository{root: dir}.run(ctx, nil, "cat-file", "-e", commit+"^{tree}")
	return err == nil
}

// maxSubject is how many characters of a commit's first line are read.
const maxSubject = 200

// Subject is the first line of a commit's message, cut to 200 characters, or empty
// if the checkout that dir is in does not hold the commit.
func Subject(ctx context.Context, dir, commit string) string {
	text, err := repository{root: dir}.output(ctx, nil, "show", "--no-patch", "--format=%s", commit, "--")
	if err != nil {
		return ""
	}
	runes := []rune(strings.ToValidUTF8(text, "\ufffd"))
	return string(runes[:min(len(runes), maxSubject)])
}

func notRepository(dir string, err error) error {
	var failed *commandError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s: %w: there is no git program", dir, ErrNotRepository)
	case errors.As(err, &failed) && strings.Contains(failed.stderr, "dubious ownership"):
		// CI containers run as root over a checkout that belongs to another user.
		return exit.With(exit.Config, fmt.Errorf("git refuses the checkout in %s, which belongs to another user", dir),
			"git config --global --add safe.directory "+dir)
	case errors.As(err, &failed) && strings.Contains(failed.stderr, "not a git repository"):
		return fmt.Errorf("%s: %w", dir, ErrNotRepository)
	}
	return fmt.Errorf("read git checkout %s: %w", dir, err)
}

// pathspecs turns folders into git's exclusions. Those outside of the checkout
// are no part of it anyway, and an exclusion of an ignored one makes git add
// complain that it cannot add it.
func (r repository) pathspecs(ctx context.Context, exclude []string) []string {
	specs := []string{":/"}
	for _, folder := range exclude {
		rel, ok := below(r.root, folder)
		if !ok {
			continue
		}
		if _, err := r.run(ctx, nil, "check-ignore", "--quiet", "--", rel); err != nil {
			specs = append(specs, ":(top,exclude,literal)"+rel)
		}
	}
	return specs
}

func below(root, folder string) (string, bool) {
	abs, err := filepath.Abs(folder)
	if err != nil {
		return "", false
	}
	// git prints the root with symbolic links resolved; the folder may not
	// exist yet, so only its parents can be.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// repository runs git in one checkout.
type repository struct{ root string }

// commandError is a git command that ended with an error status.
type commandError struct {
	args   []string
	stderr string
	err    error
}

func (e *commandError) Error() string {
	verb := e.args
	for len(verb) > 2 && verb[0] == "-c" {
		verb = verb[2:]
	}
	if text := strings.TrimSpace(e.stderr); text != "" {
		return fmt.Sprintf("git %s: %s", verb[0], text)
	}
	return fmt.Sprintf("git %s: %v", verb[0], e.err)
}

func (e *commandError) Unwrap() error { return e.err }

func (r repository) run(ctx context.Context, env []string, args ...string) ([]byte, error) {
	// Neither hooks nor the file system monitor's daemon may start for a look.
	full := append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"}, args...)
	cmd := exec.CommandContext(ctx, "git", full...)
	cmd.Dir = r.root
	cmd.Env = append(environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &commandError{args: args, stderr: stderr.String(), err: err}
	}
	return stdout.Bytes(), nil
}

func (r repository) output(ctx context.Context, env []string, args ...string) (string, error) {
	out, err := r.run(ctx, env, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

// environ is the environment without the variables that point git at another
// repository, as they are set when a git hook starts kstep.
func environ() []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
			"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE", "LC_ALL":
		default:
			env = append(env, entry)
		}
	}
	return append(env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}
