package hosttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kstep/kstep/internal/host"
)

// SuiteFiles is the part of Suite about files, whatever carries them.
func SuiteFiles(t *testing.T, h host.Host) {
	t.Helper()
	for _, table := range []map[string]filesTest{writing(h.Files()), folders(h.Files()), removals(h), limits(h), owners(h)} {
		for name, test := range table {
			t.Run(name, func(t *testing.T) { test(t, suiteDir(t, h)) })
		}
	}
}

// filesTest gets a folder of its own.
type filesTest func(t *testing.T, dir string)

func writing(files host.Files) map[string]filesTest {
	return map[string]filesTest{
		"Write keeps every byte and the mode, whatever the name": func(t *testing.T, dir string) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			data := bytes.Repeat(all, 300)
			for _, name := range []string{"plain", "with space", "quote'\"$`", "grüße-日本", "-dash", "new\nline"} {
				file := path.Join(dir, name)
				must(t, files.Write(t.Context(), file, data, 0o640))
				back, err := files.Read(t.Context(), file)
				must(t, err)
				if !bytes.Equal(back, data) {
					t.Errorf("%q: got %d other bytes, want %d", name, len(back), len(data))
				}
				e, err := files.Stat(t.Context(), file)
				must(t, err)
				if e.Mode.Perm() != 0o640 || e.Size != int64(len(data)) || e.IsDir {
					t.Errorf("%q: got %v, %d bytes, want 0640, %d", name, e.Mode, e.Size, len(data))
				}
			}
		},
		"Write makes missing parents, closed ones for a secret": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "a/b/secret"), []byte("x"), 0o600))
			for _, parent := range []string{"a", "a/b"} {
				e, err := files.Stat(t.Context(), path.Join(dir, parent))
				must(t, err)
				if e.Mode.Perm() != 0o700 {
					t.Errorf("%s: got mode %v, want 0700", parent, e.Mode.Perm())
				}
			}
		},
		"Write is seen as all of the old or all of the new, and leaves nothing else": func(t *testing.T, dir string) {
			file := path.Join(dir, "replaced")
			versions := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
			must(t, files.Write(t.Context(), file, versions[0], 0o644))
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range 10 {
					if err := files.Write(t.Context(), file, versions[i%2], 0o644); err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
			for range 20 {
				now, err := files.Read(t.Context(), file)
				must(t, err)
				if !bytes.Equal(now, versions[0]) && !bytes.Equal(now, versions[1]) {
					t.Errorf("saw neither version: %d bytes", len(now))
				}
			}
			wg.Wait()
			wantList(t, files, dir, "replaced")
		},
		"Append makes a file and adds to its end, all of each of many at once": func(t *testing.T, dir string) {
			file := path.Join(dir, "log")
			size, err := files.Append(t.Context(), file, []byte("first\n"), 0o640)
			must(t, err)
			if size != 6 {
				t.Errorf("got length %d, want 6", size)
			}
			e, err := files.Stat(t.Context(), file)
			must(t, err)
			if e.Mode.Perm() != 0o640 {
				t.Errorf("got mode %v, want 0640", e.Mode.Perm())
			}
			want := []string{"first"}
			var wg sync.WaitGroup
			for i := range 10 {
				line := strings.Repeat(strconv.Itoa(i), 1000)
				want = append(want, line)
				wg.Go(func() {
					if _, err := files.Append(t.Context(), file, []byte(line+"\n"), 0o640); err != nil {
						t.Errorf("append: %v", err)
					}
				})
			}
			wg.Wait()
			data, err := files.Read(t.Context(), file)
			must(t, err)
			if got := slices.Sorted(strings.FieldsSeq(string(data))); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("got %d other bytes than those of all lines", len(data))
			}
		},
		"Append into a folder that is not there is fs.ErrNotExist": func(t *testing.T, dir string) {
			if _, err := files.Append(t.Context(), path.Join(dir, "nowhere", "log"), []byte("x"), 0o640); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want fs.ErrNotExist", err)
			}
		},
		"Write of nothing makes an empty file": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "empty"), nil, 0o644))
			data, err := files.Read(t.Context(), path.Join(dir, "empty"))
			must(t, err)
			if len(data) != 0 {
				t.Errorf("got %q, want nothing", data)
			}
		},
	}
}

func folders(files host.Files) map[string]filesTest {
	return map[string]filesTest{
		"Create lets exactly one of many win, with a complete file": func(t *testing.T, dir string) {
			file := path.Join(dir, "sub", "once")
			var wg sync.WaitGroup
			errs := make([]error, 10)
			for i := range errs {
				wg.Go(func() {
					errs[i] = files.Create(t.Context(), file, bytes.Repeat(fmt.Appendf(nil, "%d", i), 1000), 0o600)
				})
			}
			wg.Wait()
			winner := slices.Index(errs, nil)
			if winner < 0 {
				t.Fatalf("nobody won: %v", errs)
			}
			for i, err := range errs {
				if i != winner && !errors.Is(err, fs.ErrExist) {
					t.Errorf("loser %d got %v, want fs.ErrExist", i, err)
				}
			}
			data, err := files.Read(t.Context(), file)
			must(t, err)
			if want := bytes.Repeat(fmt.Appendf(nil, "%d", winner), 1000); !bytes.Equal(data, want) {
				t.Errorf("the file is not the winner's")
			}
			wantList(t, files, path.Join(dir, "sub"), "once")
		},
		"List sorts, and a missing folder has nothing": func(t *testing.T, dir string) {
			for _, name := range []string{"c", "a", "b"} {
				must(t, files.Write(t.Context(), path.Join(dir, name), nil, 0o644))
			}
			must(t, files.Mkdir(t.Context(), path.Join(dir, "d"), 0o755))
			wantList(t, files, dir, "a", "b", "c", "d")
			wantList(t, files, path.Join(dir, "missing"))
		},
		"Mkdir makes parents with the mode, twice is fine, a file is not": func(t *testing.T, dir string) {
			for range 2 {
				must(t, files.Mkdir(t.Context(), path.Join(dir, "x/y/z"), 0o711))
			}
			e, err := files.Stat(t.Context(), path.Join(dir, "x/y"))
			must(t, err)
			if !e.IsDir || e.Mode.Perm() != 0o711 {
				t.Errorf("got %v, want a folder with 0711", e.Mode)
			}
			must(t, files.Write(t.Context(), path.Join(dir, "file"), nil, 0o644))
			if err := files.Mkdir(t.Context(), path.Join(dir, "file"), 0o755); !errors.Is(err, fs.ErrExist) {
				t.Errorf("over a file: got %v, want fs.ErrExist", err)
			}
			if entries, err := files.List(t.Context(), path.Join(dir, "file")); err == nil {
				t.Errorf("the list of a file is %v, want an error", entries)
			}
		},
	}
}

func limits(h host.Host) map[string]filesTest {
	files := h.Files()
	return map[string]filesTest{
		"what is not there is fs.ErrNotExist, with path and host": func(t *testing.T, dir string) {
			file := path.Join(dir, "missing")
			_, readErr := files.Read(t.Context(), file)
			_, statErr := files.Stat(t.Context(), file)
			for _, err := range []error{readErr, statErr} {
				if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), h.Name()) {
					t.Errorf("got %v, want fs.ErrNotExist with %s and %s", err, file, h.Name())
				}
			}
		},
		"a relative path is below the home folder": func(t *testing.T, dir string) {
			relative := path.Join(path.Base(path.Dir(dir)), path.Base(dir), "r")
			must(t, files.Write(t.Context(), relative, []byte("r"), 0o644))
			_, err := files.Stat(t.Context(), path.Join(dir, "r"))
			must(t, err)
		},
		"WriteVia shows one change, by way of another folder": func(t *testing.T, dir string) {
			watched := path.Join(dir, "watched")
			must(t, files.Mkdir(t.Context(), watched, 0o755))
			must(t, files.WriteVia(t.Context(), dir, path.Join(watched, "route"), []byte("one"), 0o644))
			must(t, files.WriteVia(t.Context(), dir, path.Join(watched, "route"), []byte("two"), 0o644))
			got, err := files.Read(t.Context(), path.Join(watched, "route"))
			must(t, err)
			if string(got) != "two" {
				t.Errorf("got %q, want two", got)
			}
			wantList(t, files, watched, "route")
			wantList(t, files, dir, "watched")
		},
		"nothing happens after the context ended": func(t *testing.T, dir string) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := files.Write(ctx, path.Join(dir, "late"), nil, 0o644); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			wantList(t, files, dir)
		},
	}
}

func wantList(t *testing.T, files host.Files, dir string, want ...string) {
	t.Helper()
	entries, err := files.List(t.Context(), dir)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", dir, got, want)
	}
}
