// Package version decides what a release is called: the --version flag, else
// KSTEP_VERSION, else the git commit. Only the first stage calls it; later
// stages read the version from the state.
package version

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/git"
	"github.com/kstep/kstep/internal/state"
)

// Options are where a version may come from.
type Options struct {
	// Flag is --version, Env is KSTEP_VERSION; empty means not given.
	Flag string
	Env  string
	// Dir is the project's folder.
	Dir string
	// BuildsTree is set if the working tree is built as it is, and not a clean
	// copy of the commit.
	BuildsTree bool
	// Exclude are folders that never make a checkout dirty, such as the state
	// folder.
	Exclude []string
}

// Resolve returns the version, where it came from, and a warning for people
// if there is something to warn of.
func Resolve(ctx context.Context, o Options) (version string, src state.Source, warn string, err error) {
	described, gitErr := git.Describe(ctx, o.Dir, o.Exclude...)
	if ctx.Err() != nil {
		return "", state.Source{}, "", ctx.Err()
	}
	src = state.Source{Commit: described.Commit, Dirty: described.Dirty && o.BuildsTree}
	if given, from := o.given(); given != "" {
		if err := Validate(given); err != nil {
			return "", src, "", exit.With(exit.Usage, fmt.Errorf("%s: %w", from, err))
		}
		// A version that is a commit means that commit, where HEAD is another
		// one, such as a CI system's merge of it.
		if given != src.Commit && !o.BuildsTree && isCommit(given) && git.Has(ctx, o.Dir, given) {
			described.Commit, src.Commit = given, given
		}
		src.Subject = o.subject(ctx, src)
		return given, src, o.warning(described, nil), nil
	}
	if errors.Is(gitErr, git.ErrNotRepository) {
		return "", src, "", exit.With(exit.Config, fmt.Errorf("no version given, and %w", gitErr),
			"pass --version, or set KSTEP_VERSION", "or run kstep in a git checkout, whose commit is the version")
	}
	// Without a commit there is no version; without a comparison there still
	// is one, as long as the comparison is not part of it.
	if gitErr != nil && (described.Commit == "" || o.BuildsTree) {
		return "", src, "", exit.With(exit.Config, gitErr, exit.Hints(gitErr)...)
	}
	version = described.Commit
	if src.Dirty {
		version += "_uncommitted_" + described.TreeDigest[:16]
	}
	src.Subject = o.subject(ctx, src)
	return version, src, o.warning(described, gitErr), nil
}

func (o Options) subject(ctx context.Context, src state.Source) string {
	if src.Commit == "" {
		return ""
	}
	return git.Subject(ctx, o.Dir, src.Commit)
}

func (o Options) given() (value, from string) {
	if o.Flag != "" {
		return o.Flag, "--version"
	}
	return o.Env, "KSTEP_VERSION"
}

func isCommit(version string) bool {
	return regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`).MatchString(version)
}

func (o Options) warning(src git.Source, gitErr error) string {
	switch {
	case o.BuildsTree:
		return ""
	case src.Dirty:
		return "uncommitted changes are not part of the build: it is made from commit " + src.Commit +
			" (builder.context: . builds the working tree)"
	case gitErr != nil:
		return "uncommitted changes cannot be determined: " + gitErr.Error()
	}
	return ""
}

// Validate checks that a version can be an image tag and a part of a
// container's name.
func Validate(version string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`).MatchString(version) {
		return fmt.Errorf("%q cannot be a version: up to 128 letters, digits, _ . -, and the first none of . -", version)
	}
	return nil
}
