package hosttest

import (
	"archive/tar"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Image is an image that a test puts on a host.
type Image struct {
	Labels map[string]string
	Cmd    []string
	Env    []string
	Files  map[string]string // Contents by absolute path.
	Health []string          // A HEALTHCHECK's test, such as `CMD-SHELL`, `…`.
}

// image is one of the engine's. All fields but files are guarded by it.
type image struct {
	ID      string
	Tags    []string
	Digests []string
	DiffIDs []string
	Labels  map[string]string
	Cmd     []string
	Env     []string
	Health  *healthConfig
	Size    int64
	Created time.Time
	tree    func() map[string]string // Files by path, read once.
}

// BehaviourLabel is the image label that names a behaviour.
const BehaviourLabel = "hosttest.behaviour"

// Behave sets how containers behave from now on whose image reference contains
// the key, or whose image's BehaviourLabel is the key.
func (e *Engine) Behave(key string, b Behaviour) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behaviours[key] = b
}

// behaviourOf takes the longest key that fits; the engine is locked.
func (e *Engine) behaviourOf(img *image, ref string) Behaviour {
	if b, ok := e.behaviours[img.Labels[BehaviourLabel]]; ok {
		return b
	}
	best := ""
	for key := range e.behaviours {
		if len(key) > len(best) && (strings.Contains(ref, key) || slices.ContainsFunc(img.Tags, func(t string) bool { return strings.Contains(t, key) })) {
			best = key
		}
	}
	return e.behaviours[best]
}

// AddImage puts an image on the host, without a registry.
func (e *Engine) AddImage(ref string, i Image) {
	made := &image{
		ID: "sha256:" + newID(), DiffIDs: []string{"sha256:" + newID()}, Labels: i.Labels, Cmd: i.Cmd, Env: i.Env,
		Created: time.Now(), tree: func() map[string]string { return i.Files },
	}
	if len(i.Health) > 0 {
		made.Health = &healthConfig{Test: i.Health}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keep(made, ref)
}

// keep adds an image under a reference, which another one loses; the engine is
// locked.
func (e *Engine) keep(i *image, ref string) {
	for _, have := range e.images {
		if have.ID == i.ID {
			i = have
		}
	}
	if !slices.Contains(e.images, i) {
		e.images = append([]*image{i}, e.images...)
	}
	if strings.Contains(ref, "@") {
		if !slices.Contains(i.Digests, ref) {
			i.Digests = append(i.Digests, ref)
		}
		return
	}
	e.tag(i, ref)
}

func (e *Engine) tag(i *image, ref string) {
	ref = tagged(ref)
	for _, have := range e.images {
		have.Tags = slices.DeleteFunc(have.Tags, func(t string) bool { return t == ref })
	}
	i.Tags = append(i.Tags, ref)
	slices.Sort(i.Tags)
}

func tagged(ref string) string {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
	if !strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		ref += ":latest"
	}
	return ref
}

// findImage finds by id, digest or tag; the engine is locked.
func (e *Engine) findImage(ref string) *image {
	short := strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
	for _, i := range e.images {
		hexID := strings.TrimPrefix(i.ID, "sha256:")
		if i.ID == ref || len(ref) >= 12 && strings.HasPrefix(hexID, ref) ||
			slices.Contains(i.Digests, ref) || slices.Contains(i.Digests, short) ||
			!strings.Contains(ref, "@") && slices.Contains(i.Tags, tagged(ref)) {
			return i
		}
	}
	return nil
}

func (e *Engine) serveImages(w http.ResponseWriter, r *http.Request, rest string) {
	if r.Method == http.MethodPost && rest == "create" {
		e.servePull(w, r)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && rest == "json":
		e.listImages(w, r)
	case r.Method == http.MethodPost && rest == "prune":
		e.prune(w, r)
	case strings.HasSuffix(rest, "/json"):
		ref := strings.TrimSuffix(rest, "/json")
		i := e.findImage(ref)
		if i == nil {
			refuse(w, 404, "No such image: "+ref)
			return
		}
		answer(w, 200, i.inspect())
	case strings.HasSuffix(rest, "/tag"):
		ref := strings.TrimSuffix(rest, "/tag")
		i := e.findImage(ref)
		if i == nil {
			refuse(w, 404, "No such image: "+ref)
			return
		}
		e.tag(i, r.URL.Query().Get("repo")+":"+r.URL.Query().Get("tag"))
		w.WriteHeader(201)
	case r.Method == http.MethodDelete:
		e.removeImage(w, rest)
	default:
		refuse(w, 404, "page not found")
	}
}

func (i *image) inspect() any {
	return map[string]any{
		"Id": i.ID, "RepoTags": i.Tags, "RepoDigests": i.Digests, "Created": instant(i.Created), "Size": i.Size,
		"Config": map[string]any{"Labels": i.Labels, "Cmd": i.Cmd, "Env": i.Env, "Healthcheck": i.Health},
		"RootFS": map[string]any{"Type": "layers", "Layers": i.DiffIDs},
	}
}

func (e *Engine) listImages(w http.ResponseWriter, r *http.Request) {
	filters := filtersOf(r)
	var found []*image
	for _, i := range e.images {
		dangling := len(i.Tags) == 0
		if !matchesLabels(i.Labels, filters["label"]) ||
			!anyOf(filters["dangling"], func(s string) bool { return (s == "true") == dangling }) ||
			!anyOf(filters["reference"], func(s string) bool { return i.matches(s) }) {
			continue
		}
		found = append(found, i)
	}
	answerList(w, found, func(i *image) any {
		return map[string]any{
			"Id": i.ID, "RepoTags": i.Tags, "RepoDigests": i.Digests, "Labels": i.Labels,
			"Created": i.Created.Unix(), "Size": i.Size, "Containers": -1,
		}
	})
}

// matches imitates the reference filter: a pattern for the whole tag, or for
// the repository alone.
func (i *image) matches(pattern string) bool {
	for _, t := range i.Tags {
		repository := t[:strings.LastIndex(t, ":")]
		for _, candidate := range []string{t, repository} {
			if ok, err := path.Match(pattern, candidate); err == nil && ok {
				return true
			}
		}
	}
	for _, d := range i.Digests {
		repository, _, _ := strings.Cut(d, "@")
		if ok, err := path.Match(pattern, repository); err == nil && ok {
			return true
		}
	}
	return false
}

func (e *Engine) users(i *image) []*container {
	var found []*container
	for _, c := range e.containers {
		if c.image == i {
			found = append(found, c)
		}
	}
	return found
}

func (e *Engine) removeImage(w http.ResponseWriter, ref string) {
	i := e.findImage(ref)
	if i == nil {
		refuse(w, 404, "No such image: "+ref)
		return
	}
	deleted := []map[string]string{}
	names := len(i.Tags) + len(i.Digests)
	if slices.Contains(i.Tags, tagged(ref)) || slices.Contains(i.Digests, ref) {
		repository := ref
		if cut := strings.LastIndexAny(ref, ":@"); cut > strings.LastIndex(ref, "/") {
			repository = strings.TrimSuffix(ref[:cut], "@sha256")
		}
		last := names - 1
		if len(i.Tags) == 1 && slices.Contains(i.Tags, tagged(ref)) {
			// With a repository's last tag go its digests.
			for _, d := range i.Digests {
				if strings.HasPrefix(d, repository+"@") {
					last--
				}
			}
		}
		if last > 0 {
			i.Tags = slices.DeleteFunc(i.Tags, func(t string) bool { return t == tagged(ref) })
			i.Digests = slices.DeleteFunc(i.Digests, func(d string) bool { return d == ref })
			answer(w, 200, append(deleted, map[string]string{"Untagged": ref}))
			return
		}
	}
	if users := e.users(i); len(users) > 0 {
		refuse(w, 409, fmt.Sprintf("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", ref, users[0].ID[:12], i.ID))
		return
	}
	e.images = slices.DeleteFunc(e.images, func(o *image) bool { return o == i })
	answer(w, 200, append(deleted, map[string]string{"Untagged": ref}, map[string]string{"Deleted": i.ID}))
}

func (e *Engine) prune(w http.ResponseWriter, r *http.Request) {
	deleted := []map[string]string{}
	e.images = slices.DeleteFunc(e.images, func(i *image) bool {
		if len(i.Tags) > 0 || !matchesLabels(i.Labels, filtersOf(r)["label"]) || len(e.users(i)) > 0 {
			return false
		}
		deleted = append(deleted, map[string]string{"Deleted": i.ID})
		return true
	})
	answer(w, 200, map[string]any{"ImagesDeleted": deleted, "SpaceReclaimed": 0})
}

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
	json.NewEncoder(w).Encode(line) //nolint:errcheck // The client notices.
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

// fillVolumes copies the image's files into empty volumes, as an engine does
// when it creates a container.
func (c *container) fillVolumes() error {
	for i, m := range c.HostConfig.Mounts {
		if m.Type != "volume" {
			continue
		}
		device := filepath.Join(c.engine.fake.Root, "volumes", m.Source)
		if m.VolumeOptions != nil && m.VolumeOptions.DriverConfig != nil {
			device = m.VolumeOptions.DriverConfig.Options["device"]
			if _, err := os.Stat(device); err != nil {
				return fmt.Errorf("error while mounting volume: failed to mount local volume: mount %s: no such file or directory", device)
			}
		} else if m.Source == "" {
			continue
		}
		if !c.engine.fake.inside(device) {
			return fmt.Errorf("hosttest: %s is outside of the fake host", device)
		}
		if err := os.MkdirAll(device, 0o755); err != nil {
			return err
		}
		if have, err := os.ReadDir(device); err != nil || len(have) > 0 {
			continue
		}
		for name, data := range c.image.tree() {
			inside, ok := strings.CutPrefix(name, c.HostConfig.Mounts[i].Target+"/")
			if !ok {
				continue
			}
			to := filepath.Join(device, inside)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(to, []byte(data), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
