package registry

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
)

// ociArchive writes what buildx writes for two platforms.
func ociArchive(t *testing.T) (Request, v1.ImageIndex) {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		index = with(index, ociImageFor(t, arch), arch)
	}
	return archived(t, index).described(t), index
}

// ociImageFor is an image of its own each time.
func ociImageFor(t *testing.T, arch string) v1.Image {
	t.Helper()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", arch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// with adds an image to an index, which calls it one for a platform.
func with(index v1.ImageIndex, image v1.Image, arch string) v1.ImageIndex {
	return mutate.AppendManifests(index, mutate.IndexAddendum{
		Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
	})
}

// archived writes an index as buildx does.
func archived(t *testing.T, index v1.ImageIndex) Request {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	var order []string
	files := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		order = append(order, rel)
		files[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return Request{Archive: writeTar(t, order, files, nil), Format: FormatOCI, Tags: []string{"v1", "latest"}}
}

func TestPush_OfSeveralPlatformsKeepsTheBuildersDigest(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req, index := ociArchive(t)
	if req.Image.Platform != "linux/amd64" || len(req.Image.Variants) != 1 || req.Image.Variants[0].Platform != "linux/arm64" {
		t.Errorf("got %+v, want both platforms", req.Image)
	}
	pushed := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	want, err := index.Digest()
	if err != nil || pushed.Digest != want.String() {
		t.Errorf("got %s, want %s (%v)", pushed.Digest, want, err)
	}
	ref, err := name.ParseReference(s.Host() + "/acme/shop:latest")
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(got); err != nil {
		t.Error(err)
	}
	s.Requests()
	again := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	if requests := s.Requests(); again.Changed || len(requests) > 3 {
		t.Errorf("again: got %+v with %v, want nothing changed in 3 requests", again, requests)
	}
}

func TestResolve_RecordsAReadyImage(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 1000))
	pushed := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	cfg := &config.Config{Image: "other/name", Registry: config.Registry{Server: "registry.example.com"},
		Registries: config.Registries{{Server: s.Host(), Insecure: true}}}
	s.Requests()
	for _, ref := range []string{"/acme/shop:v1", "/acme/shop@" + pushed.Digest} {
		out, err := Resolve(t.Context(), cfg, s.Host()+ref, nil, report.Discard{})
		if err != nil {
			t.Fatal(err)
		}
		if out.Digest != pushed.Digest || out.Repository != s.Host()+"/acme/shop" || out.ConfigDigest != req.Image.ConfigDigest || out.Platform != "linux/amd64" {
			t.Errorf("%s: got %+v, want the pushed image", ref, out)
		}
		if want := strings.Count(ref, ":v1"); len(out.Tags) != want {
			t.Errorf("%s: got tags %v, want %d", ref, out.Tags, want)
		}
	}
	if writes := registrytest.Count(s.Requests(), "P"); writes != 0 {
		t.Errorf("got %d writes, want none", writes)
	}
}

func TestResolve_OfAnIndexHasEveryPlatform(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req, _ := ociArchive(t)
	push(t, open(t, configFor(s), nil, report.Discard{}), req)
	out, err := Resolve(t.Context(), configFor(s), s.Host()+"/acme/shop:v1", nil, report.Discard{})
	if err != nil || len(out.Variants) != 1 || !out.Has(req.Image.Variants[0].ConfigDigest) {
		t.Errorf("got %+v, %v, want both platforms", out, err)
	}
}

func TestResolve_TellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	if _, err := Resolve(t.Context(), configFor(s), s.Host()+"/acme/shop:none", nil, report.Discard{}); exit.CodeOf(err) != exit.Registry {
		t.Errorf("got %v, want the registry code", err)
	}
	if _, err := Resolve(t.Context(), configFor(s), "Not A Reference", nil, report.Discard{}); exit.CodeOf(err) != exit.Usage {
		t.Errorf("got %v, want the usage code", err)
	}
	s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	if _, err := Resolve(t.Context(), configFor(s), s.Host()+"/acme/shop:v1", nil, report.Discard{}); len(exit.Hints(err)) == 0 {
		t.Errorf("got %v without hints, want what to do", err)
	}
}

func TestOpenArchive_RefusesWhatIsNoImage(t *testing.T) {
	t.Parallel()
	whole := dockerArchive(t, noise(1, 100_000))
	data, err := os.ReadFile(whole.Archive)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"empty":     nil,
		"no tar":    bytes.Repeat([]byte("x"), 2000),
		"cut short": data[:len(data)/2],
	}
	for title, content := range cases {
		t.Run(title, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenArchive(path); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error that names the file", err)
			}
		})
	}
	loop := writeTar(t, []string{"manifest.json"}, nil, map[string]string{"manifest.json": "manifest.json"})
	if _, err := OpenArchive(loop); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("link to itself: got %v, want an error", err)
	}
}

func TestRepository_NamesTheServer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ server, image, want string }{
		"own server":        {"registry.example.com:5000", "acme/shop", "registry.example.com:5000/acme/shop"},
		"no server":         {"", "acme/shop", "docker.io/acme/shop"},
		"official":          {"", "shop", "docker.io/library/shop"},
		"server in image":   {"", "ghcr.io/acme/shop", "ghcr.io/acme/shop"},
		"server with slash": {"ghcr.io/", "acme/shop", "ghcr.io/acme/shop"},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			got := Repository(&config.Config{Image: c.image, Registry: config.Registry{Server: c.server}})
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
