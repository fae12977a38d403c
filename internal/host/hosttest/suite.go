package hosttest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/host"
)

// Suite is what every host must do, fake or real. open returns the host under
// test; the suite closes nothing. img is an image on it, with `sh`, a folder
// `/www` that holds `index.html`, and a command that serves HTTP on port 3000
// until it is asked to end.
func Suite(t *testing.T, open func(*testing.T) host.Host, img string) {
	t.Helper()
	h := open(t)
	t.Run("files", func(t *testing.T) { suiteFiles(t, h) })
	t.Run("commands", func(t *testing.T) { suiteCommands(t, h) })
	t.Run("engine", func(t *testing.T) { suiteEngine(t, h, img) })
}

// suiteDir is a folder on the host for one test.
func suiteDir(t *testing.T, h host.Host) string {
	t.Helper()
	home, err := h.Files().Home(t.Context())
	must(t, err)
	if !path.IsAbs(home) {
		t.Fatalf("home %q is not absolute", home)
	}
	dir := path.Join(home, suiteName())
	must(t, h.Files().Mkdir(t.Context(), dir, 0o755))
	t.Cleanup(func() {
		if err := h.Files().Remove(context.WithoutCancel(t.Context()), dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return dir
}

func suiteName() string { return "kstep-suite-" + strings.ToLower(rand.Text()[:8]) }

func suiteFiles(t *testing.T, h host.Host) {
	files := h.Files()
	tests := map[string]func(*testing.T, string){
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
		"Write of nothing makes an empty file": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "empty"), nil, 0o644))
			data, err := files.Read(t.Context(), path.Join(dir, "empty"))
			must(t, err)
			if len(data) != 0 {
				t.Errorf("got %q, want nothing", data)
			}
		},
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
		"Remove takes a file, a folder with all in it, and what is not there": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "tree/a/it's here"), []byte("x"), 0o644))
			must(t, files.Write(t.Context(), path.Join(dir, "tree/b/c/d"), []byte("x"), 0o644))
			must(t, files.Remove(t.Context(), path.Join(dir, "tree/b/c/d")))
			for range 2 {
				must(t, files.Remove(t.Context(), path.Join(dir, "tree")))
			}
			wantList(t, files, dir)
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
		},
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
			relative := path.Join(path.Base(dir), "r")
			must(t, files.Write(t.Context(), relative, []byte("r"), 0o644))
			_, err := files.Stat(t.Context(), path.Join(dir, "r"))
			must(t, err)
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
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, suiteDir(t, h)) })
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

func suiteCommands(t *testing.T, h host.Host) {
	t.Run("arguments arrive as they are", func(t *testing.T) {
		args := []string{"", " ", "a b", "it's", `"`, `\`, "$HOME", "`id`", "*", "~", "-n", "a=b", "new\nline", "grüße", "!", "#x", ";", "&&", "\t", `\n`}
		out, err := h.Run(t.Context(), append([]string{"sh", "-c", `for a; do printf '<%s>' "$a"; done`, "sh"}, args...), nil)
		must(t, err)
		want := ""
		for _, a := range args {
			want += "<" + a + ">"
		}
		if string(out) != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("standard input goes in, standard output comes out", func(t *testing.T) {
		data := bytes.Repeat([]byte{0, 1, '\n', 255}, 50_000)
		out, err := h.Run(t.Context(), []string{"cat"}, data)
		must(t, err)
		if !bytes.Equal(out, data) {
			t.Errorf("got %d other bytes, want %d", len(out), len(data))
		}
	})
	t.Run("a failure tells host, program, status and complaint, and no argument", func(t *testing.T) {
		out, err := h.Run(t.Context(), []string{"sh", "-c", "echo out; echo oh no >&2; exit 7", "secret-argument"}, nil)
		failed, ok := errors.AsType[*host.CommandError](err)
		if !ok {
			t.Fatalf("got %v, want a *host.CommandError", err)
		}
		want := host.CommandError{Host: h.Name(), Program: "sh", Status: 7, Stderr: "oh no"}
		if *failed != want {
			t.Errorf("got %+v, want %+v", *failed, want)
		}
		if string(out) != "out\n" || strings.Contains(err.Error(), "secret-argument") {
			t.Errorf("got output %q and error %q", out, err)
		}
	})
	t.Run("a missing program is status 127", func(t *testing.T) {
		_, err := h.Run(t.Context(), []string{"kstep-no-such-program"}, nil)
		if failed, ok := errors.AsType[*host.CommandError](err); !ok || failed.Status != 127 {
			t.Errorf("got %v, want status 127", err)
		}
	})
	t.Run("the end of the context ends the wait", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := h.Run(ctx, []string{"sleep", "30"}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: got %v, want context.DeadlineExceeded", time.Since(began), err)
		}
	})
	t.Run("many at once all end", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				out, err := h.Run(t.Context(), []string{"echo", fmt.Sprint(i)}, nil)
				if err != nil || string(out) != fmt.Sprintln(i) {
					t.Errorf("%d: got %q, %v", i, out, err)
				}
			})
		}
		wg.Wait()
	})
}
