package git

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/exit"
)

// checkout makes a repository with one commit of two files.
func checkout(t *testing.T) string {
	t.Helper()
	isolate(t)
	dir := t.TempDir()
	run(t, dir, "init", "--quiet", "--initial-branch=main")
	write(t, dir, "app.txt", "one\n", 0o644)
	write(t, dir, "bin/start", "#!/bin/sh\n", 0o755)
	write(t, dir, ".gitignore", "ignored/\n", 0o644)
	commit(t, dir)
	return dir
}

func isolate(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
}

func commit(t *testing.T, dir string) string {
	t.Helper()
	run(t, dir, "add", "--all")
	run(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=x")
	return run(t, dir, "rev-parse", "HEAD")
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, dir, name, content string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func describe(t *testing.T, dir string, exclude ...string) Source {
	t.Helper()
	src, err := Describe(t.Context(), dir, exclude...)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestDescribe_CleanCheckoutIsItsCommit(t *testing.T) {
	dir := checkout(t)
	src := describe(t, filepath.Join(dir, "bin"))
	if src.Dirty || src.Commit != run(t, dir, "rev-parse", "HEAD") || src.Prefix != "bin" {
		t.Errorf("got %+v, want the clean commit with prefix bin", src)
	}
}

func TestDescribe_DirtyDigestFollowsContentOnly(t *testing.T) {
	dir := checkout(t)
	clean := describe(t, dir)
	seen := map[string]string{clean.TreeDigest: "clean"}
	changes := []struct {
		name string
		make func()
	}{
		{"a tracked file changed to the same length", func() { write(t, dir, "app.txt", "two\n", 0o644) }},
		{"a new file", func() { write(t, dir, "new.txt", "new\n", 0o644) }},
		{"a new file with other content", func() { write(t, dir, "new.txt", "now\n", 0o644) }},
		{"a mode changed", func() {
			if err := os.Chmod(filepath.Join(dir, "app.txt"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"a tracked file deleted", func() {
			if err := os.Remove(filepath.Join(dir, "bin/start")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a change staged", func() {
			write(t, dir, "app.txt", "staged\n", 0o755)
			run(t, dir, "add", "app.txt")
		}},
	}
	for _, change := range changes {
		change.make()
		src := describe(t, dir)
		if !src.Dirty {
			t.Errorf("%s: got clean, want dirty", change.name)
		}
		if before, ok := seen[src.TreeDigest]; ok {
			t.Errorf("%s: got the digest of %q, want another", change.name, before)
		}
		seen[src.TreeDigest] = change.name
	}
}

func TestDescribe_TwoJobsWithTheSameFilesAgree(t *testing.T) {
	first := checkout(t)
	second := filepath.Join(t.TempDir(), "second")
	run(t, t.TempDir(), "clone", "--quiet", first, second)
	for _, dir := range []string{first, second} {
		write(t, dir, "app.txt", "changed\n", 0o644)
		write(t, dir, "new.txt", "new\n", 0o644)
	}
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"app.txt", "new.txt", "bin/start"} {
		if err := os.Chtimes(filepath.Join(second, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	a, b := describe(t, first), describe(t, second)
	if a.TreeDigest != b.TreeDigest {
		t.Errorf("got %s and %s, want one digest", a.TreeDigest, b.TreeDigest)
	}
}

func TestDescribe_IgnoredAndExcludedFilesDoNotCount(t *testing.T) {
	dir := checkout(t)
	write(t, dir, "ignored/file", "x", 0o644)
	write(t, dir, "kstep-state/build.json", "{}", 0o644)
	if src := describe(t, dir, filepath.Join(dir, "kstep-state"), "/elsewhere"); src.Dirty {
		t.Errorf("got dirty, want clean")
	}
	if src := describe(t, dir); !src.Dirty {
		t.Errorf("without the exclusion: got clean, want dirty")
	}
}

func TestDescribe_ExcludesFoldersThatAreIgnoredInAnyWay(t *testing.T) {
	for _, pattern := range []string{"state", "state/", "/state/", "state/*", "*.tar", "state/*.json"} {
		dir := checkout(t)
		write(t, dir, ".gitignore", pattern+"\n", 0o644)
		commit(t, dir)
		for _, exists := range []bool{false, true} {
			if exists {
				write(t, dir, "state/a.tar", "x", 0o644)
				write(t, dir, "state/b.json", "x", 0o644)
			}
			if src := describe(t, dir, filepath.Join(dir, "state")); src.Dirty {
				t.Errorf("%s, exists %v: got dirty, want clean", pattern, exists)
			}
		}
	}
}

func TestDescribe_LeavesTheCheckoutAlone(t *testing.T) {
	dir := checkout(t)
	write(t, dir, "new.txt", "new\n", 0o644)
	before := run(t, dir, "count-objects") + run(t, dir, "status", "--porcelain")
	describe(t, dir)
	after := run(t, dir, "count-objects") + run(t, dir, "status", "--porcelain")
	if before != after {
		t.Errorf("got %q after, want %q", after, before)
	}
}

func TestDescribe_SeesChangesInsideSubmodules(t *testing.T) {
	dir := withSubmodule(t)
	if src := describe(t, dir); src.Dirty {
		t.Fatal("got dirty, want clean")
	}
	write(t, dir, "lib/app.txt", "changed\n", 0o644)
	if src := describe(t, dir); !src.Dirty {
		t.Error("got clean, want dirty")
	}
}

func withSubmodule(t *testing.T) string {
	t.Helper()
	lib, dir := checkout(t), checkout(t)
	run(t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", lib, "lib")
	commit(t, dir)
	return dir
}

func TestDescribe_TellsWhyThereIsNoCommit(t *testing.T) {
	isolate(t)
	empty := t.TempDir()
	run(t, empty, "init", "--quiet")
	if _, err := Describe(t.Context(), empty); !errors.Is(err, ErrNoCommit) || exit.CodeOf(err) != exit.Config {
		t.Errorf("empty repository: got %v, want ErrNoCommit with the config code", err)
	}
	outside := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(outside))
	if _, err := Describe(t.Context(), outside); !errors.Is(err, ErrNotRepository) {
		t.Errorf("outside: got %v, want ErrNotRepository", err)
	}
}

func TestDescribe_IgnoresTheRepositoryOfACallingHook(t *testing.T) {
	dir, other := checkout(t), checkout(t)
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	t.Setenv("GIT_INDEX_FILE", filepath.Join(other, ".git/index"))
	if src := describe(t, dir); src.Root != dir || src.Dirty {
		t.Errorf("got %+v, want a clean %s", src, dir)
	}
}

func TestSubject_IsTheFirstLineOfAMessage(t *testing.T) {
	dir := checkout(t)
	write(t, dir, "app.txt", "two\n", 0o644)
	run(t, dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--all", "--message="+strings.Repeat("é", 300)+"\n\nmore")
	if got := Subject(t.Context(), dir, run(t, dir, "rev-parse", "HEAD")); got != strings.Repeat("é", maxSubject) {
		t.Errorf("got %q", got)
	}
	if got := Subject(t.Context(), dir, strings.Repeat("0", 40)); got != "" {
		t.Errorf("of a commit that is not there: got %q", got)
	}
}
