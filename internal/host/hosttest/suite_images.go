package hosttest

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kstep/kstep/internal/engine"
)

func (s suite) mounts() {
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: path.Join(suiteDir(s.T, s.h), "missing"), Target: "/x"}}
	if id, err := s.e.Create(s.Context(), spec); err == nil {
		err = s.e.Remove(s.Context(), id)
		s.Errorf("created with a missing folder (removed: %v)", err)
	} else if !errors.Is(err, engine.ErrNoFolder) {
		s.Errorf("a missing folder: got %v, want ErrNoFolder", err)
	}
	// With a label of SELinux it is made, and mounted like the others.
	dir := path.Join(suiteDir(s.T, s.h), "labelled")
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/y", ReadOnly: true, Relabel: "z"}}
	want := engine.Mount{Source: dir, Target: "/y", ReadOnly: true}
	if got := s.inspect(s.create(spec)).Mounts; !slices.Contains(got, want) {
		s.Errorf("got the mounts %+v, want %+v", got, want)
	}
	info, err := s.e.Info(s.Context())
	must(s, err)
	if !strings.HasPrefix(info.Platform(), "linux/") {
		s.Errorf("got the machine %q, %q, want a known one", info.OS, info.Architecture)
	}
}

func (s suite) images() {
	have, err := s.e.Image(s.Context(), s.image)
	must(s, err)
	if have.ID == "" || len(have.DiffIDs) == 0 {
		s.Errorf("got %+v, want id and layers", have)
	}
	repository := "kstep.invalid/" + suiteName()
	for _, tag := range []string{":1", ":2"} {
		must(s, s.e.Tag(s.Context(), s.image, repository+tag))
	}
	list, err := s.e.Images(s.Context(), engine.Filter{Reference: repository})
	must(s, err)
	if len(list) != 1 || list[0].ID != have.ID || !slices.Contains(list[0].Tags, repository+":1") {
		s.Errorf("got %+v, want the image once with its new tags", list)
	}
	for _, tag := range []string{":1", ":2", ":2"} {
		must(s, s.e.RemoveImage(s.Context(), repository+tag))
	}
	if _, err := s.e.Image(s.Context(), repository+":1"); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("after the tag went: got %v, want ErrNotFound", err)
	}
	_, err = s.e.Image(s.Context(), s.image)
	must(s, err)
}

func (s suite) extracts() {
	id := s.create(s.spec())
	stream, err := s.e.CopyFrom(s.Context(), id, "/www")
	must(s, err)
	defer stream.Close()
	reader := tar.NewReader(stream)
	var names []string
	for {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(s, err)
		names = append(names, head.Name)
	}
	if !slices.Contains(names, "www/index.html") {
		s.Errorf("got %q, want www/index.html", names)
	}
	if _, err := s.e.CopyFrom(s.Context(), id, "/missing"); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("a missing folder: got %v, want ErrNotFound", err)
	}
	above := suiteDir(s.T, s.h)
	x := engine.Extract{Image: s.image, Name: suiteName()}
	s.Cleanup(func() { s.clear(above) })
	var dir string
	for at, folder := range []string{"/www", "/links/www", "/links/outside"} { // Links lead to no path of the host.
		dir = path.Join(above, "own", strconv.Itoa(at))
		must(s, s.h.Files().Mkdir(s.Context(), dir, 0o755))
		x.Folders = map[string]string{folder: dir}
		must(s, s.e.Extract(s.Context(), x))
		wantList(s.T, s.h.Files(), dir, "index.html")
	}
	if _, err := s.e.Inspect(s.Context(), x.Name); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("the helper container: got %v, want it gone", err)
	}
	for folder, why := range map[string]string{
		"/missing": "it is not there", "/www/index.html": "it is a file", "/links/missing": "it is a link to /missing, which is not there",
		"/links/file": "it is a link to /www/index.html, which is not a folder", "/links/root": "it is a link to /",
	} {
		x.Folders = map[string]string{folder: dir}
		if err := s.e.Extract(s.Context(), x); !errors.Is(err, engine.ErrNotFound) || !strings.Contains(err.Error(), why) {
			s.Errorf("extract %s: got %v, want ErrNotFound and %q", folder, err, why)
		}
	}
	x.Folders = map[string]string{"/www": dir, "/links/www": dir}
	if err := s.e.Extract(s.Context(), x); err == nil || !strings.Contains(err.Error(), "/links/www and /www are the same folder /www") {
		s.Errorf("extract a folder by two names: got %v", err)
	}
}

// gives puts files of an image into a container that runs. A link that the
// container has in the place of a file leads to no path of the host.
func (s suite) gives() {
	above := suiteDir(s.T, s.h)
	dir, outside := path.Join(above, "own"), path.Join(above, "outside")
	must(s, s.h.Files().Mkdir(s.Context(), dir, 0o755))
	must(s, s.h.Files().Write(s.Context(), outside, []byte("as it was"), 0o644))
	s.Cleanup(func() { s.clear(above) })
	if _, err := s.h.Run(s.Context(), []string{"ln", "-s", outside, path.Join(dir, "index.html")}, nil); err != nil {
		s.Fatal(err)
	}
	spec := s.spec()
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/gift"}, {Source: dir, Target: "/read", ReadOnly: true}}
	x := engine.Gift{
		Extract: engine.Extract{Image: s.image, Name: suiteName()}, Folder: "/www",
		Container: s.run(spec), Path: "/gift", Wanted: func(name string) bool { return name == "index.html" },
	}
	if left, err := s.e.Give(s.Context(), x); err != nil || len(left) > 0 {
		s.Errorf("got %q, %v", left, err)
	}
	if e, err := s.h.Files().Stat(s.Context(), path.Join(dir, "index.html")); err != nil || e.Size == 0 {
		s.Errorf("the file is %+v, %v", e, err)
	}
	if data, err := s.h.Files().Read(s.Context(), outside); err != nil || string(data) != "as it was" {
		s.Errorf("the file that a link named is %q, %v", data, err)
	}
	x.Path = "/read"
	if _, err := s.e.Give(s.Context(), x); err == nil {
		s.Error("a folder that the container can only read took files")
	}
	if _, err := s.e.Inspect(s.Context(), x.Name); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("the helper container: got %v, want it gone", err)
	}
}

// lacks looks for programs in an image that is never run.
func (s suite) lacks() {
	x := engine.Extract{Image: s.image, Name: suiteName()}
	for _, tt := range []struct{ groups, want [][]string }{
		{[][]string{{"/www/index.html"}, {"/missing", "/www/index.html"}}, nil},
		{[][]string{{"/www/index.html"}, {"no-such-program", "/missing"}}, [][]string{{"no-such-program", "/missing"}}},
		{[][]string{{"/www"}}, [][]string{{"/www"}}}, // A folder is no program.
	} {
		var want []string
		if len(tt.want) > 0 {
			want = tt.want[0]
		}
		got, err := s.e.Lacks(s.Context(), x, tt.groups)
		if err != nil || !slices.Equal(got, want) {
			s.Errorf("of %q: got %q, %v, want %q", tt.groups, got, err, want)
		}
	}
	if _, err := s.e.Inspect(s.Context(), x.Name); !errors.Is(err, engine.ErrNotFound) {
		s.Errorf("the helper container: got %v, want it gone", err)
	}
}

// clear empties a folder from within a container: the engine's files there
// belong to root, and the SSH user may be another one.
func (s suite) clear(dir string) {
	ctx := context.WithoutCancel(s.Context())
	spec := s.spec()
	spec.Cmd = []string{"sh", "-c", "busybox rm -rf /above/own"}
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/above"}}
	id, err := s.e.Create(ctx, spec)
	must(s, err)
	must(s, s.e.Start(ctx, id))
	must(s, s.e.WaitFor(ctx, id, func(c engine.Container) (bool, error) { return c.State == "exited", nil }))
	must(s, s.e.Remove(ctx, id))
}

func (s suite) networks() {
	name := suiteName()
	s.Cleanup(func() { removeNetwork(s.T, s.h, name) })
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := s.e.EnsureNetwork(s.Context(), name, nil); err != nil {
				s.Errorf("ensure: %v", err)
			}
		})
	}
	wg.Wait()
	have, err := s.e.Networks(s.Context(), name)
	must(s, err)
	if len(have) != 1 {
		s.Errorf("got %d networks of one name, want 1", len(have))
	}
	if created, err := s.e.EnsureNetwork(s.Context(), name, nil); err != nil || created {
		s.Errorf("again: got %v, %v, want it there", created, err)
	}
}

func (s suite) missing() {
	spec := s.spec()
	spec.Image = "kstep.invalid/missing:1"
	_, createErr := s.e.Create(s.Context(), spec)
	_, imageErr := s.e.Image(s.Context(), spec.Image)
	_, inspectErr := s.e.Inspect(s.Context(), spec.Name)
	for what, err := range map[string]error{
		"create from a missing image": createErr, "inspect a missing image": imageErr,
		"inspect a missing container": inspectErr, "start one": s.e.Start(s.Context(), spec.Name),
		"stop one": s.e.Stop(s.Context(), spec.Name, engine.Stop{}),
	} {
		if !errors.Is(err, engine.ErrNotFound) || !strings.Contains(err.Error(), s.h.Name()) {
			s.Errorf("%s: got %v, want ErrNotFound with the host", what, err)
		}
	}
}
