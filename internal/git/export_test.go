package git

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExport_HasTheCommitAndNothingElse(t *testing.T) {
	dir := checkout(t)
	if err := os.Symlink("app.txt", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	head := commit(t, dir)
	write(t, dir, "app.txt", "uncommitted\n", 0o644)
	write(t, dir, "new.txt", "new\n", 0o644)
	run(t, dir, "config", "core.sparseCheckout", "true")

	dest := t.TempDir()
	if _, err := Export(t.Context(), dir, head, dest); err != nil {
		t.Fatal(err)
	}
	var got []string
	stamp := run(t, dir, "show", "-s", "--format=%cI", head)
	when, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dest, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dest, path)
		got = append(got, rel+" "+info.Mode().String())
		if entry.Type().IsRegular() && !info.ModTime().Equal(when) {
			t.Errorf("%s: got time %v, want %v", rel, info.ModTime(), when)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := ".gitignore -rw-r--r--, app.txt -rw-r--r--, bin/start -rwxr-xr-x, link Lrwxrwxrwx"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if content, _ := os.ReadFile(filepath.Join(dest, "app.txt")); string(content) != "one\n" {
		t.Errorf("got %q, want the committed content", content)
	}
	if status := run(t, dir, "status", "--porcelain"); !strings.Contains(status, "M app.txt") {
		t.Errorf("the checkout's own index changed: %q", status)
	}
}

func TestExport_FillsSubmodulesAtTheRecordedCommit(t *testing.T) {
	dir := withSubmodule(t)
	write(t, dir, "lib/app.txt", "later\n", 0o644)
	dest := t.TempDir()
	warnings, err := Export(t.Context(), dir, run(t, dir, "rev-parse", "HEAD"), dest)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if content, _ := os.ReadFile(filepath.Join(dest, "lib/app.txt")); string(content) != "one\n" {
		t.Errorf("got %q, want the submodule's committed content", content)
	}
}

func TestExport_WarnsOfSubmodulesThatAreNotThere(t *testing.T) {
	dir := withSubmodule(t)
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, dir, "clone", "--quiet", dir, clone)
	warnings, err := Export(t.Context(), clone, "HEAD", t.TempDir())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "lib") {
		t.Errorf("got %q, %v, want one warning about lib", warnings, err)
	}
}

func TestExport_WorksFromAShallowClone(t *testing.T) {
	dir := checkout(t)
	write(t, dir, "app.txt", "two\n", 0o644)
	head := commit(t, dir)
	shallow := filepath.Join(t.TempDir(), "shallow")
	run(t, dir, "clone", "--quiet", "--depth=1", "file://"+dir, shallow)
	dest := t.TempDir()
	if _, err := Export(t.Context(), shallow, head, dest); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(filepath.Join(dest, "app.txt")); string(content) != "two\n" {
		t.Errorf("got %q, want the commit's content", content)
	}
}
