package hosttest

import (
	"archive/tar"
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
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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
	e.mu.Unlock()
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
		if pulled, status, err = fetch(r, ref); err != nil {
			refuse(w, status, err.Error())
			return
		}
	}
	w.WriteHeader(200)
	stream(w, map[string]any{"status": "Pulling from " + repository, "id": tag})
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
func fetch(r *http.Request, ref string) (*image, int, error) {
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
	made, err := fromRegistry(parsed, img)
	if err == nil {
		err = r.Context().Err() // Its files may have been read in part.
	}
	if err != nil {
		return nil, 500, err
	}
	return made, 200, nil
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
