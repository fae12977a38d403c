package asset

import (
	"testing"

	"github.com/kstep/kstep/internal/engine"
)

func TestFolderAt_ReadsOnlyWhatKstepMakes(t *testing.T) {
	root := "/root/.kstep/shop/assets"
	want := folder{root, "web@v1-abc", "app_assets", readOnly}
	if f, ok := folderAt(root, want.path()); !ok || f != want {
		t.Errorf("got %+v, %t", f, ok)
	}
	for _, source := range []string{
		"", "/", root, root + "/", root + "/web@v1-abc/app_assets", root + "/web@v1-abc/app_assets/own", root + "/web@v1-abc/app_assets/ro/x",
		root + "/web@v1-abc/../ro", root + "/../../ro", root + "/web@v1-abc//ro", root + "/./app_assets/ro", root + "/web\n/app_assets/ro",
		root + "x/web@v1-abc/app_assets/ro", "/etc/web@v1-abc/app_assets/ro", root + "/web@v1-abc/\x1b[2K/rw",
	} {
		if f, ok := folderAt(root, source); ok {
			t.Errorf("%q is taken for %+v", source, f)
		}
	}
}

func TestTree_IsNoFolderThatAContainerCanWrite(t *testing.T) {
	f := folder{"/root/.kstep/shop/assets", "web@v1-abc", "app_assets", writable}
	for name, c := range map[string]struct {
		mount engine.Mount
		state string
		want  bool
	}{
		"not mounted":             {engine.Mount{Source: "/srv/data"}, "running", true},
		"read-only":               {engine.Mount{Source: f.path(), ReadOnly: true}, "running", true},
		"written":                 {engine.Mount{Source: f.path()}, "running", false},
		"a folder in it written":  {engine.Mount{Source: f.path() + "/sub"}, "running", false},
		"its neighbour written":   {engine.Mount{Source: f.path() + "2"}, "running", true},
		"by one that is stopped":  {engine.Mount{Source: f.path()}, "exited", false},
		"by one that was made":    {engine.Mount{Source: f.path()}, "created", false},
		"by one that will return": {engine.Mount{Source: f.path()}, "restarting", false},
	} {
		// Of whatever service: a user may have started it with --volumes-from.
		b := Bridge{Containers: []engine.Container{{ID: "1", State: c.state, Mounts: []engine.Mount{c.mount}}}}
		if got, ok := b.tree(f); ok != c.want || got.path != map[bool]string{true: f.path()}[c.want] {
			t.Errorf("%s: got %q, %t, want %t", name, got.path, ok, c.want)
		}
	}
}
