// Package registrytest is a registry in the test's own process that writes down
// its requests, and archives to push to it. It is only for tests.
package registrytest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	memory "github.com/google/go-containerregistry/pkg/registry"
)

// Server is an empty registry over plain HTTP.
type Server struct {
	http *httptest.Server

	mu        sync.Mutex
	requests  []string
	intercept func(w http.ResponseWriter, r *http.Request) bool
	logins    []string
}

// Main hides docker's own login from all tests of a package and runs them, for
// TestMain: a single test that did so could have no other beside it.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docker-config")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Setenv("DOCKER_CONFIG", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hide docker's login:", err)
		return 1
	}
	return m.Run()
}

// New starts a registry.
func New(t testing.TB) *Server {
	t.Helper()
	handler := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	s := &Server{}
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		intercept := s.intercept
		s.mu.Unlock()
		if intercept == nil || !intercept(w, r) {
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.http.Close)
	return s
}

// Close takes the registry away, before the test's end does.
func (s *Server) Close() { s.http.Close() }

// Host is the registry's address.
func (s *Server) Host() string { return strings.TrimPrefix(s.http.URL, "http://") }

// Intercept lets f answer requests itself; it returns true if it did.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Protect makes the registry require the user and password, from now on.
func (s *Server) Protect(user, password string) {
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		gotUser, gotPassword, given := r.BasicAuth()
		if given {
			s.mu.Lock()
			s.logins = append(s.logins, gotUser+":"+gotPassword)
			s.mu.Unlock()
		}
		if gotUser == user && gotPassword == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

// Logins are all that a protected registry was given, each once, as
// `user:password`.
func (s *Server) Logins() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	logins := slices.Clone(s.logins)
	slices.Sort(logins)
	return slices.Compact(logins)
}

// Requests are those since the last call, as `METHOD /path`.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	s.requests = nil
	return requests
}

// Count counts the requests that begin with prefix.
func Count(requests []string, prefix string) int {
	n := 0
	for _, request := range requests {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}

// Archive is what `docker save` of an old engine writes of an image with
// these layers: plain tars, and links for those that repeat.
func Archive(t testing.TB, layers ...[]byte) []byte {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	add := func(header tar.Header, content []byte) {
		header.Mode, header.Size = 0o644, int64(len(content))
		if err := writer.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	var names, diffIDs []string
	seen := map[string]string{}
	for i, layer := range layers {
		digest := fmt.Sprintf("sha256:%x", sha256.Sum256(layer))
		name := fmt.Sprintf("%064d/layer.tar", i)
		names, diffIDs = append(names, name), append(diffIDs, digest)
		if first, ok := seen[digest]; ok {
			add(tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: "../" + first}, nil)
			continue
		}
		seen[digest] = name
		add(tar.Header{Name: name}, layer)
	}
	config := encode(t, map[string]any{
		"os": "linux", "architecture": "amd64", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	add(tar.Header{Name: configName}, config)
	add(tar.Header{Name: "manifest.json"}, encode(t, []any{map[string]any{
		"Config": configName, "RepoTags": []string{"x:1"}, "Layers": names,
	}}))
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
