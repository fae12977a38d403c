package registry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/state"
)

func push(t *testing.T, c *Client, req Request) Pushed {
	t.Helper()
	pushed, err := c.Push(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return pushed
}

func TestPush_SetsBothTagsToAValidImage(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	events := &sink{}
	same := noise(1, 300_000)
	req := dockerArchive(t, same, noise(2, 200_000), same)
	pushed := push(t, open(t, configFor(s), nil, events), req)
	if !pushed.Changed || pushed.Uploaded == 0 {
		t.Errorf("got %+v, want a change with bytes", pushed)
	}
	for _, tag := range req.Tags {
		ref, err := name.ParseReference(s.Host() + "/acme/shop:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(image); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
		digest, err := image.Digest()
		if err != nil || digest.String() != pushed.Digest {
			t.Errorf("%s: got %v, %v, want %s", tag, digest, err, pushed.Digest)
		}
		config, err := image.ConfigName()
		if err != nil || config.String() != req.Image.ConfigDigest {
			t.Errorf("%s: got config %v, %v, want %s", tag, config, err, req.Image.ConfigDigest)
		}
	}
	if uploads := registrytest.Count(s.Requests(), "PATCH"); uploads != 3 {
		t.Errorf("got %d uploads, want 3: config and two different layers", uploads)
	}
	progress := events.of(report.Progress)
	if len(progress) == 0 || progress[len(progress)-1].Total == 0 {
		t.Errorf("got %v, want progress with a total", progress)
	}
}

func TestPush_AgainIsThreeRequests(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 1000), noise(2, 1000))
	first := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	s.Requests()
	req.Own = &state.PushOutputs{Image: req.Image, Digest: first.Digest}
	req.Archive = "no longer there"
	second := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	requests := s.Requests()
	if second.Changed || second.Digest != first.Digest || second.Uploaded != 0 {
		t.Errorf("got %+v, want nothing changed at %s", second, first.Digest)
	}
	if len(requests) > 3 {
		t.Errorf("got %d requests, want at most 3: %v", len(requests), requests)
	}
}

func TestPush_FromAnotherRunnerFindsTheImageByItsConfig(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 1000))
	first := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	s.Requests()
	second := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	if requests := s.Requests(); second.Changed || second.Digest != first.Digest || registrytest.Count(requests, "P") != 0 || len(requests) > 4 {
		t.Errorf("got %+v with %v, want nothing changed in few requests", second, requests)
	}
}

func TestPush_SetsATagThatAnInterruptedPushDidNot(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 1000))
	half := req
	half.Tags = req.Tags[:1]
	first := push(t, open(t, configFor(s), nil, report.Discard{}), half)
	second := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	third := push(t, open(t, configFor(s), nil, report.Discard{}), req)
	if !second.Changed || second.Digest != first.Digest || third.Changed {
		t.Errorf("got %+v then %+v, want one change of the tag", second, third)
	}
}

func TestPush_OfTheNextVersionSendsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	base := noise(1, 500_000)
	push(t, open(t, configFor(s), nil, report.Discard{}), dockerArchive(t, base, noise(2, 1000)))
	s.Requests()
	next := dockerArchive(t, base, noise(3, 1000))
	next.Tags[0] = "v2"
	pushed := push(t, open(t, configFor(s), nil, report.Discard{}), next)
	if pushed.Uploaded > 10_000 {
		t.Errorf("got %d bytes, want only the new layer, config and manifest", pushed.Uploaded)
	}
	if uploads := registrytest.Count(s.Requests(), "PATCH"); uploads != 2 {
		t.Errorf("got %d uploads, want 2", uploads)
	}
}

func TestPush_TellsWhenItReplacesAVersion(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	push(t, open(t, configFor(s), nil, report.Discard{}), dockerArchive(t, noise(1, 1000)))
	events := &sink{}
	pushed := push(t, open(t, configFor(s), nil, events), dockerArchive(t, noise(2, 1000)))
	warnings := events.of(report.Warning)
	if !pushed.Changed || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "replaces") {
		t.Errorf("got %+v, %v, want a change and one warning", pushed, warnings)
	}
}

func TestPush_GivesTheSameDigestToTwoRegistries(t *testing.T) {
	t.Parallel()
	req := dockerArchive(t, noise(1, 100_000), noise(2, 1000))
	one := push(t, open(t, configFor(registrytest.New(t)), nil, report.Discard{}), req)
	two := push(t, open(t, configFor(registrytest.New(t)), nil, report.Discard{}), req)
	if one.Digest != two.Digest {
		t.Errorf("got %s and %s, want one digest", one.Digest, two.Digest)
	}
}

func TestPack_KeepsLayersThatAreCompressedAlready(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	plain := noise(1, 1000)
	if _, err := zip.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	section := io.NewSectionReader(bytes.NewReader(packed.Bytes()), 0, int64(packed.Len()))
	got, err := pack(t.Context(), section, v1.Hash{}, t.TempDir())
	if err != nil || got.desc.Digest.String() != sha256Digest(packed.Bytes()) {
		t.Errorf("got %v, %v, want the bytes as they are", got.desc, err)
	}
}

func TestPush_TriesAgainWhenTheRegistryStumbles(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	var failures atomic.Int64
	s.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		switch n := failures.Add(1); {
		case n%14 == 7:
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case n%14 == 0:
			connection, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = connection.Close()
			}
			return true
		}
		return false
	})
	events := &sink{}
	pushed := push(t, open(t, configFor(s), nil, events), dockerArchive(t, noise(1, 50_000), noise(2, 50_000), noise(3, 50_000)))
	if !pushed.Changed || len(events.of(report.Notice)) == 0 {
		t.Errorf("got %+v and %d notices, want a push with retries", pushed, len(events.of(report.Notice)))
	}
}

func TestPush_GoesOnWhereABrokenOneStopped(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 50_000), noise(2, 50_000))
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	if _, err := open(t, configFor(s), nil, report.Discard{}).Push(t.Context(), req); exit.CodeOf(err) != exit.Registry {
		t.Fatalf("got %v, want the registry code", err)
	}
	s.Intercept(nil)
	s.Requests()
	push(t, open(t, configFor(s), nil, report.Discard{}), req)
	if uploads := registrytest.Count(s.Requests(), "PATCH"); uploads != 0 {
		t.Errorf("got %d uploads, want none: all blobs were there", uploads)
	}
}

func TestPush_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			cancel()
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	c := open(t, configFor(s), nil, report.Discard{})
	c.wait = firstWait
	if _, err := c.Push(ctx, dockerArchive(t, noise(1, 1000))); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestPush_RefusesADamagedArchive(t *testing.T) {
	t.Parallel()
	s := registrytest.New(t)
	req := dockerArchive(t, noise(1, 1000))
	other := dockerArchive(t, noise(2, 1000))
	req.Archive = other.Archive
	if _, err := open(t, configFor(s), nil, report.Discard{}).Push(t.Context(), req); exit.CodeOf(err) != exit.BadState {
		t.Errorf("another image: got %v, want bad state", err)
	}
	req.Archive = "/nowhere/image.tar"
	if _, err := open(t, configFor(s), nil, report.Discard{}).Push(t.Context(), req); exit.CodeOf(err) != exit.MissingState {
		t.Errorf("no file: got %v, want missing state", err)
	}
}
