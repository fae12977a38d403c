package hosttest

import (
	"io/fs"
	"path"
	"slices"
	"testing"

	"github.com/kstep/kstep/internal/host"
)

func owners(h host.Host) map[string]filesTest {
	files := h.Files()
	return map[string]filesTest{
		"Owners knows the user, and whose a file, a folder and a link are": func(t *testing.T, dir string) {
			file, link, folder := path.Join(dir, "file"), path.Join(dir, "link"), path.Join(dir, "folder")
			must(t, files.Write(t.Context(), file, []byte("x"), 0o640))
			must(t, files.Mkdir(t.Context(), folder, 0o750))
			_, err := h.Run(t.Context(), []string{"ln", "-s", file, link}, nil)
			must(t, err)
			below := path.Join(file, "below")
			got, err := files.Owners(t.Context(), []string{file, folder, link, below, path.Join(dir, "missing")})
			must(t, err)
			for name, mode := range map[string]fs.FileMode{file: 0o640, folder: fs.ModeDir | 0o750} {
				if o := got.Found[name]; o.User != got.User || o.Mode != mode {
					t.Errorf("%s: got %+v, want user %d, mode %v", name, o, got.User, mode)
				}
			}
			if o := got.Found[link]; o.Mode&fs.ModeSymlink == 0 || o.User != got.User {
				t.Errorf("the link: got %+v", o)
			}
			if len(got.Found) != 3 || !slices.Contains(got.Groups, got.Found[file].Group) {
				t.Errorf("got %+v, want three paths of one of the groups", got)
			}
		},
		"Owners wants a path": func(t *testing.T, _ string) {
			if _, err := files.Owners(t.Context(), nil); err == nil {
				t.Error("no path is no error")
			}
		},
	}
}
