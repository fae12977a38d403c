package hosttest

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Image is an image that a test puts on a host.
type Image struct {
	Labels map[string]string
	Cmd    []string
	Env    []string
	Files  map[string]string // Contents by absolute path.
	Links  map[string]string // Targets of links, by absolute path.
	Health []string          // A HEALTHCHECK's test, such as `CMD-SHELL`, `…`.
	Expose []string          // Ports such as `8080/tcp`.
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
	Exposed []string
	Size    int64
	Created time.Time
	tree    func() map[string]string // Files by path, read once.
	links   map[string]string        // Where links lead to, by path.
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
		ID: "sha256:" + newID(), DiffIDs: []string{"sha256:" + newID()}, Labels: i.Labels, Cmd: i.Cmd, Env: i.Env, Exposed: i.Expose,
		Created: time.Now(), tree: func() map[string]string { return i.Files }, links: i.Links,
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
	if r.Method == http.MethodPost && rest == "load" {
		e.serveLoad(w, r)
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
	if e.busy > 0 {
		e.busy--
		refuse(w, 409, "a prune operation is already running")
		return
	}
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
