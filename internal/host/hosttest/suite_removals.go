package hosttest

import (
	"context"
	"path"
	"testing"

	"github.com/kstep/kstep/internal/host"
)

func removals(h host.Host) map[string]filesTest {
	files := h.Files()
	return map[string]filesTest{
		"Remove takes a file and what is not there, and no folder": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "tree/a"), []byte("x"), 0o644))
			must(t, files.Write(t.Context(), path.Join(dir, "tree/b"), []byte("x"), 0o644))
			must(t, files.Mkdir(t.Context(), path.Join(dir, "empty"), 0o755))
			for range 2 {
				must(t, files.Remove(t.Context(), host.Under(dir, "tree", "b")))
			}
			must(t, files.Remove(t.Context(), host.Under(dir, "missing", "b")))
			for _, folder := range []string{"tree", "empty"} {
				if err := files.Remove(t.Context(), host.Under(dir, folder)); err == nil {
					t.Errorf("the folder %s was removed as a file", folder)
				}
			}
			wantList(t, files, path.Join(dir, "tree"), "a")
			wantList(t, files, dir, "empty", "tree")
		},
		"RemoveTree takes a folder with all in it, a file, and what is not there": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "tree/a/it's here"), []byte("x"), 0o644))
			must(t, files.Write(t.Context(), path.Join(dir, "tree/b/c/d"), []byte("x"), 0o644))
			must(t, files.RemoveTree(t.Context(), host.Inside(dir, path.Join(dir, "tree/b/c/d"))))
			for range 2 {
				must(t, files.RemoveTree(t.Context(), host.Under(dir, "tree")))
			}
			wantList(t, files, dir)
		},
		"neither takes a path that leads elsewhere": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "tree/a"), []byte("x"), 0o644))
			must(t, files.Mkdir(t.Context(), path.Join(dir, "other"), 0o755))
			for _, wrong := range []host.Below{
				{}, host.Under(dir), host.Under("/", "tree"), host.Under("/etc", "tree"), host.Under("tree", "a"),
				host.Under(dir+"/other/..", "tree"), host.Under(dir+"/", "tree"), host.Under(dir+"\n/x", "tree"),
				host.Under(dir, "other", "..", "tree"), host.Under(dir, ".", "tree"), host.Under(dir, ""), host.Under(dir, "other/../tree"),
				host.Under(dir, "tree\n"), host.Under(dir, "tree", "a\x00"), host.Under(dir, "tree\x7f"), host.Under(dir, "\xff"),
				host.Inside(dir, "/etc/passwd"), host.Inside(dir, dir), host.Inside(dir, dir+"x/tree"), host.Inside(dir, dir+"/other/../tree"),
				host.Inside(dir, dir+"//tree"), host.Inside(dir+"/other", dir+"/tree/a"),
			} {
				for kind, remove := range map[string]func(context.Context, host.Below) error{"Remove": files.Remove, "RemoveTree": files.RemoveTree} {
					if err := remove(t.Context(), wrong); err == nil {
						t.Errorf("%s of %q is no error", kind, wrong)
					}
				}
			}
			wantList(t, files, path.Join(dir, "tree"), "a")
		},
		"neither goes through a link, and a link is removed alone": func(t *testing.T, dir string) {
			must(t, files.Write(t.Context(), path.Join(dir, "victim/sub/a"), []byte("x"), 0o644))
			must(t, files.Mkdir(t.Context(), path.Join(dir, "own"), 0o755))
			link := func(to, at string) {
				if _, err := h.Run(t.Context(), []string{"ln", "-s", "--", to, path.Join(dir, at)}, nil); err != nil {
					t.Fatal(err)
				}
			}
			link(path.Join(dir, "victim"), "link")
			link("../victim/sub", "own/deep")
			for _, through := range []host.Below{
				host.Under(dir, "link", "sub"), host.Under(dir, "link", "sub", "a"), host.Under(dir, "own", "deep", "a"),
				host.Under(path.Join(dir, "link"), "sub"), host.Under(path.Join(dir, "own/deep"), "a"),
			} {
				for kind, remove := range map[string]func(context.Context, host.Below) error{"Remove": files.Remove, "RemoveTree": files.RemoveTree} {
					if err := remove(t.Context(), through); err == nil {
						t.Errorf("%s of %q went through a link", kind, through)
					}
				}
			}
			must(t, files.Remove(t.Context(), host.Under(dir, "link")))
			must(t, files.RemoveTree(t.Context(), host.Under(dir, "own")))
			wantList(t, files, path.Join(dir, "victim/sub"), "a")
			wantList(t, files, dir, "victim")
		},
	}
}
