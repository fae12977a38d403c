package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kstep/kstep/internal/exit"
)

func packed(t *testing.T, req Request) *Packed {
	t.Helper()
	p, err := Pack(req.Archive, req.Image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func offer(t *testing.T, p *Packed, known map[string]Blob) *Offer {
	t.Helper()
	o, err := p.Offer(t.Context(), "localhost/shop", known)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// fetch gets a part of the offer as an engine does.
func fetch(o *Offer, password, path, part string) (int, string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.SetBasicAuth("kstep", password)
	if part != "" {
		r.Header.Set("Range", part)
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestOffer_GivesNothingToOneWithoutThePassword(t *testing.T) {
	o := offer(t, packed(t, dockerArchive(t, noise(1, 5000))), nil)
	manifest := "/v2/localhost/shop/manifests/" + o.top.String()
	for _, path := range []string{"/v2/", manifest, "/v2/localhost/shop/blobs/" + anyBlob(o)} {
		for _, password := range []string{"", "kstep", strings.ToLower(o.password)} {
			if status, body := fetch(o, password, path, ""); status != http.StatusUnauthorized || len(body) > 100 {
				t.Errorf("%s with %q: got %d, %q", path, password, status, body)
			}
		}
	}
	if o.Reached() {
		t.Error("one without the password counts as the engine")
	}
	if status, body := fetch(o, o.password, manifest, ""); status != http.StatusOK || !strings.Contains(body, "schemaVersion") || !o.Reached() {
		t.Errorf("with the password: got %d, %q", status, body)
	}
	for _, path := range []string{"/v2/localhost/other/manifests/" + o.top.String(), "/v2/_catalog", "/", "/v2/localhost/shop/blobs/../../../etc/passwd"} {
		if status, _ := fetch(o, o.password, path, ""); status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
}

func anyBlob(o *Offer) string {
	for _, blob := range o.Layers() {
		return blob.Digest
	}
	return ""
}

func TestOffer_GoesOnInTheMiddleOfALayer(t *testing.T) {
	o := offer(t, packed(t, dockerArchive(t, noise(1, 50_000))), nil)
	path := "/v2/localhost/shop/blobs/" + anyBlob(o)
	_, all := fetch(o, o.password, path, "")
	status, rest := fetch(o, o.password, path, "bytes=1000-")
	if status != http.StatusPartialContent || rest != all[1000:] {
		t.Errorf("got %d with %d bytes, want the rest of %d", status, len(rest), len(all))
	}
	if want := int64(len(all) + len(rest)); o.Sent() != want {
		t.Errorf("counted %d bytes, want %d", o.Sent(), want)
	}
}

// Layers that an engine knows are compressed only if it wants them nevertheless.
func TestOffer_OfKnownLayersCompressesNothing(t *testing.T) {
	req := dockerArchive(t, noise(1, 5000), noise(2, 6000))
	first := offer(t, packed(t, req), nil)
	p := packed(t, req)
	second := offer(t, p, first.Layers())
	if second.top != first.top {
		t.Errorf("got the manifest %s, want %s", second.top, first.top)
	}
	if files, err := os.ReadDir(p.dir); err != nil || len(files) > 0 {
		t.Errorf("%d layers were compressed, %v", len(files), err)
	}
	path := "/v2/localhost/shop/blobs/" + anyBlob(second)
	if status, body := fetch(second, second.password, path, ""); status != http.StatusOK || len(body) == 0 || second.Failure() != nil {
		t.Errorf("got %d with %d bytes, %v", status, len(body), second.Failure())
	}
	wrong := map[string]Blob{}
	for id, blob := range first.Layers() {
		wrong[id] = Blob{Digest: "sha256:" + strings.Repeat("0", 60) + blob.Digest[len(blob.Digest)-4:], Size: blob.Size}
	}
	third := offer(t, packed(t, req), wrong)
	if status, _ := fetch(third, third.password, "/v2/localhost/shop/blobs/"+anyBlob(third), ""); status != http.StatusNotFound || !errors.Is(third.Failure(), ErrStale) {
		t.Errorf("a wrong digest: got %d, %v, want ErrStale", status, third.Failure())
	}
}

func TestPacked_AFailureIsTriedAgainAndLeavesNothing(t *testing.T) {
	req := dockerArchive(t, noise(1, 5000))
	p := packed(t, req)
	dir := p.dir
	p.dir = filepath.Join(dir, "missing")
	if _, err := p.Offer(t.Context(), "localhost/shop", nil); !errors.Is(err, errLocal) {
		t.Errorf("got %v, want a failure of this machine", err)
	}
	p.dir = dir
	offer(t, p, nil)
}

func TestPack_RefusesAnotherImageOnAnyPlatform(t *testing.T) {
	amd, arm := ociImageFor(t, "amd64"), ociImageFor(t, "arm64")
	index := func() v1.ImageIndex { return mutate.IndexMediaType(empty.Index, types.OCIImageIndex) }
	built := archived(t, with(with(index(), amd, "amd64"), arm, "arm64")).described(t)
	packed(t, built)
	for name, other := range map[string]Request{
		"the second platform is another image": archived(t, with(with(index(), amd, "amd64"), ociImageFor(t, "arm64"), "arm64")),
		"the first platform is another image":  archived(t, with(with(index(), ociImageFor(t, "amd64"), "amd64"), arm, "arm64")),
		"a platform is missing":                archived(t, with(index(), amd, "amd64")),
		"one more platform":                    archived(t, with(with(with(index(), amd, "amd64"), arm, "arm64"), ociImageFor(t, "riscv64"), "riscv64")),
		"an image under another's platform":    archived(t, with(with(index(), amd, "arm64"), arm, "amd64")),
	} {
		if p, err := Pack(other.Archive, built.Image); exit.CodeOf(err) != exit.BadState {
			t.Errorf("%s: got %v, %v, want exit.BadState", name, p, err)
		}
	}
}

func TestStream_IsWhatAnEngineLoads(t *testing.T) {
	req, _ := ociArchive(t)
	p := packed(t, req)
	for _, platform := range []string{"linux/amd64", "linux/arm64", "linux/arm64/v8"} {
		file := filepath.Join(t.TempDir(), "image.tar")
		to, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Stream(t.Context(), to, platform, "localhost/shop:v1", 0), to.Close()); err != nil {
			t.Fatal(err)
		}
		loaded, err := OpenArchive(file)
		if err != nil {
			t.Fatal(err)
		}
		got := loaded.Image()
		if want := strings.TrimSuffix(platform, "/v8"); got.Platform != want || !req.Image.Has(got.ConfigDigest) || len(got.DiffIDs) != 2 {
			t.Errorf("%s: got %+v", platform, got)
		}
		loaded.Close()
	}
	if err := p.Stream(t.Context(), io.Discard, "linux/s390x", "localhost/shop:v1", 0); err == nil {
		t.Error("an image for a platform that is not there was streamed")
	}
}
