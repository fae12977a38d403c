package hosttest

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// servePull pulls from a registry over HTTP, as an engine does that has it
// among its insecure ones.
func (e *Engine) servePull(w http.ResponseWriter, r *http.Request) {
	repository, tag := r.URL.Query().Get("fromImage"), r.URL.Query().Get("tag")
	ref := repository + ":" + tag
	if strings.HasPrefix(tag, "sha256:") {
		ref = repository + "@" + tag
	}
	e.mu.Lock()
	full, have := e.diskFull, e.findImage(ref)
	alone, broken := e.isolated && strings.HasPrefix(ref, "127.0.0.1:"), e.unpackFails
	e.mu.Unlock()
	if alone {
		server, _, _ := strings.Cut(repository, "/")
		refuse(w, 500, fmt.Sprintf("Get %q: dial tcp %s: connect: connection refused", "http://"+server+"/v2/", server))
		return
	}
	if full {
		w.WriteHeader(200)
		stream(w, map[string]any{"status": "Pulling from " + repository, "id": tag})
		failure := "failed to register layer: Error processing tar file(exit status 1): write /app: no space left on device"
		stream(w, map[string]any{"error": failure, "errorDetail": map[string]string{"message": failure}})
		return
	}
	var pulled *image
	if have != nil && strings.HasPrefix(repository, "docker.io/") {
		pulled = have // Put here by the test, which has no such registry.
	} else {
		var status int
		var err error
		if pulled, status, err = e.fetch(r, ref); err != nil {
			refuse(w, status, err.Error())
			return
		}
	}
	w.WriteHeader(200)
	stream(w, map[string]any{"status": "Pulling from " + repository, "id": tag})
	if broken {
		e.mu.Lock()
		e.blobs = map[v1.Hash][]byte{} // What it cannot unpack, an engine does not keep.
		e.mu.Unlock()
		failure := "failed to register layer: mkdir /var/lib/docker: read-only file system"
		stream(w, map[string]any{"error": failure, "errorDetail": map[string]string{"message": failure}})
		return
	}
	for _, layer := range pulled.DiffIDs {
		id := strings.TrimPrefix(layer, "sha256:")[:12]
		stream(w, map[string]any{"status": "Downloading", "id": id, "progressDetail": map[string]int64{"current": 1, "total": max(pulled.Size, 1)}})
		stream(w, map[string]any{"status": "Pull complete", "id": id, "progressDetail": map[string]int64{}})
	}
	e.mu.Lock()
	digests := pulled.Digests
	e.keep(pulled, ref)
	for _, d := range digests {
		e.keep(pulled, d)
	}
	e.mu.Unlock()
	stream(w, map[string]any{"status": "Status: Downloaded newer image for " + ref})
}

func stream(w http.ResponseWriter, line map[string]any) {
	json.NewEncoder(w).Encode(line) // The client notices.
	flush(w)
}

// fetch gets an image, or the status and words an engine would answer with.
func (e *Engine) fetch(r *http.Request, ref string) (*image, int, error) {
	parsed, err := name.ParseReference(ref, name.Insecure, name.WeakValidation)
	if err != nil {
		return nil, 400, fmt.Errorf("invalid reference format: %w", err)
	}
	options := []remote.Option{remote.WithContext(r.Context())}
	var login struct{ Username, Password string }
	if header, err := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Auth")); err == nil && json.Unmarshal(header, &login) == nil && login.Username != "" {
		options = append(options, remote.WithAuth(&authn.Basic{Username: login.Username, Password: login.Password}))
	}
	img, err := remote.Image(parsed, options...)
	if err != nil {
		status, text := pullFailure(parsed, err)
		return nil, status, errors.New(text)
	}
	var made *image
	if img, err = e.fetched(img); err == nil {
		made, err = fromRegistry(parsed, img)
	}
	if err == nil {
		err = r.Context().Err() // Its files may have been read in part.
	}
	if err != nil {
		return nil, 500, err
	}
	return made, 200, nil
}

// fetched is an image whose layers are here: those that the engine has by their digest are
// not fetched again.
func (e *Engine) fetched(img v1.Image) (v1.Image, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	here := kept{Image: img}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		data, have := e.blobs[digest]
		e.mu.Unlock()
		if !have {
			if data, err = compressed(l); err != nil {
				return nil, err
			}
		}
		layer, err := e.hold(data, digest)
		if err != nil {
			return nil, err
		}
		here.layers = append(here.layers, layer)
	}
	return here, nil
}

// hold keeps a layer, by its digests: as it came, and without compression.
func (e *Engine) hold(data []byte, digests ...v1.Hash) (v1.Layer, error) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	if err != nil {
		return nil, err
	}
	diffID, err := layer.DiffID()
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, digest := range append(digests, diffID) {
		e.blobs[digest] = data
	}
	return layer, nil
}

func compressed(l v1.Layer) ([]byte, error) {
	content, err := l.Compressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return io.ReadAll(content)
}

// kept is an image with layers that are here.
type kept struct {
	v1.Image
	layers []v1.Layer
}

func (k kept) Layers() ([]v1.Layer, error) { return k.layers, nil }

// serveLoad takes an image from an archive as `docker save` writes it. Like an engine with
// the classic store, it does without the layers that it has.
func (e *Engine) serveLoad(w http.ResponseWriter, r *http.Request) {
	files, err := untar(r.Body)
	if err != nil {
		refuse(w, 500, err.Error())
		return
	}
	w.WriteHeader(200)
	name, err := e.load(files)
	if err != nil {
		stream(w, map[string]any{"error": err.Error(), "errorDetail": map[string]string{"message": err.Error()}})
		return
	}
	stream(w, map[string]any{"stream": "Loaded image: " + name + "\n"})
}

func (e *Engine) load(files map[string][]byte) (tag string, err error) {
	var manifest []tarball.Descriptor
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].RepoTags) != 1 {
		return "", fmt.Errorf("invalid archive: %w", err)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(files[manifest[0].Config]))
	if err != nil {
		return "", err
	}
	base, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		return "", err
	}
	here := kept{Image: raw{base, files[manifest[0].Config]}}
	for i, diffID := range config.RootFS.DiffIDs {
		data, sent := files[manifest[0].Layers[i]]
		if !sent {
			e.mu.Lock()
			data = e.blobs[diffID]
			e.mu.Unlock()
		}
		if data == nil {
			return "", fmt.Errorf("open %s: no such file or directory", manifest[0].Layers[i])
		}
		layer, err := e.hold(data)
		if err != nil {
			return "", err
		}
		here.layers = append(here.layers, layer)
	}
	tag = manifest[0].RepoTags[0]
	ref, err := name.NewTag(tag)
	if err != nil {
		return "", err
	}
	made, err := fromRegistry(ref, here)
	if err != nil {
		return "", err
	}
	made.Digests = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.diskFull {
		return "", errors.New("write /app: no space left on device")
	}
	e.keep(made, tag)
	return tag, nil
}

// raw is an image whose config has these bytes.
type raw struct {
	v1.Image
	config []byte
}

func (r raw) RawConfigFile() ([]byte, error) { return r.config, nil }
func (r raw) ConfigName() (v1.Hash, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(r.config))
	return digest, err
}

func untar(from io.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	reader := tar.NewReader(from)
	for {
		head, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[head.Name], err = io.ReadAll(reader); err != nil {
			return nil, err
		}
	}
}

func pullFailure(ref name.Reference, err error) (int, string) {
	answered, ok := errors.AsType[*transport.Error](err)
	switch {
	case !ok:
		return 500, fmt.Sprintf("Get %q: %v", "http://"+ref.Context().RegistryStr()+"/v2/", err)
	case answered.StatusCode == http.StatusUnauthorized, answered.StatusCode == http.StatusForbidden:
		return 500, fmt.Sprintf("Head %q: no basic auth credentials", "http://"+ref.Context().RegistryStr()+"/v2/"+ref.Context().RepositoryStr()+"/manifests/"+ref.Identifier())
	case answered.StatusCode == http.StatusNotFound:
		return 404, fmt.Sprintf("manifest for %s not found: manifest unknown: manifest unknown", ref)
	default:
		return 500, fmt.Sprintf("received unexpected HTTP status: %d %s", answered.StatusCode, http.StatusText(answered.StatusCode))
	}
}

func fromRegistry(ref name.Reference, img v1.Image) (*image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	id, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	made := &image{
		ID: id.String(), Digests: []string{ref.Context().Name() + "@" + digest.String()},
		Labels: config.Config.Labels, Cmd: config.Config.Cmd, Env: config.Config.Env, Created: config.Created.Time,
		tree: sync.OnceValue(func() map[string]string { return extract(img) }),
	}
	for _, d := range config.RootFS.DiffIDs {
		made.DiffIDs = append(made.DiffIDs, d.String())
	}
	if h := config.Config.Healthcheck; h != nil {
		made.Health = &healthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return nil, err
		}
		made.Size += size
	}
	made.tree() // Now: the registry may be gone later.
	return made, nil
}

func extract(img v1.Image) map[string]string {
	files := map[string]string{}
	flat := mutate.Extract(img)
	defer flat.Close()
	reader := tar.NewReader(flat)
	for {
		head, err := reader.Next()
		if err != nil {
			return files
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		if data, err := io.ReadAll(reader); err == nil {
			files[path.Clean("/"+head.Name)] = string(data)
		}
	}
}
