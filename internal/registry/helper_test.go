package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/registry/registrytest"
	"github.com/kstep/kstep/internal/report"
	"github.com/kstep/kstep/internal/secret"
)

func TestMain(m *testing.M) { os.Exit(registrytest.Main(m)) }

func configFor(s *registrytest.Server) *config.Config {
	return &config.Config{Service: "shop", Image: "acme/shop", Registry: config.Registry{Server: s.Host(), Insecure: true}}
}

// secrets is a fixed set of values.
type secrets map[string]string

func (s secrets) Get(name string, _ ...secret.Option) (secret.Value, error) {
	value, err := s.Identifier(name)
	return secret.NewValue(value), err
}

func (s secrets) Identifier(name string) (string, error) {
	value, ok := s[name]
	if !ok {
		return "", errors.New("no such secret: " + name)
	}
	return value, nil
}

// sink keeps events.
type sink struct {
	mu     sync.Mutex
	events []report.Event
}

func (s *sink) Emit(e report.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (*sink) Close() error { return nil }

func (s *sink) of(kind report.Kind) []report.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []report.Event
	for _, e := range s.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func open(t *testing.T, cfg *config.Config, get secrets, to report.Sink) *Client {
	t.Helper()
	c, err := Open(t.Context(), cfg, Repository(cfg), get, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.wait = time.Millisecond
	return c
}

// noise is a layer of size bytes that do not compress well, the same for the
// same seed.
func noise(seed uint64, size int) []byte {
	source := rand.New(rand.NewPCG(seed, seed))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(source.IntN(64))
	}
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	if err := errors.Join(
		writer.WriteHeader(&tar.Header{Name: fmt.Sprintf("file-%d", seed), Mode: 0o644, Size: int64(size)}),
		second(writer.Write(data)),
		writer.Close(),
	); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

func second(_ int, err error) error { return err }

func dockerArchive(t *testing.T, layers ...[]byte) Request {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, registrytest.Archive(t, layers...), 0o600); err != nil {
		t.Fatal(err)
	}
	return Request{Archive: path, Format: FormatDocker, Tags: []string{"v1", "latest"}}.described(t)
}

func (r Request) described(t *testing.T) Request {
	t.Helper()
	archive, err := OpenArchive(r.Archive)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if archive.Format() != r.Format {
		t.Fatalf("got format %s, want %s", archive.Format(), r.Format)
	}
	r.Image = archive.Image()
	return r
}

func writeTar(t *testing.T, order []string, files map[string][]byte, links map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	writer := tar.NewWriter(file)
	for _, name := range order {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}
		if link, ok := links[name]; ok {
			header.Typeflag, header.Linkname = tar.TypeSymlink, link
		}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(writer.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
