// Package asset keeps the files of two versions of an app available to both
// (S7). All of it happens on the host: the engine itself copies the image's
// folder into an empty volume when a container is created, not run, so the
// image needs neither a shell nor `sleep`, and nothing travels through the
// machine that runs kstep.
package asset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/state"
)

// Bridge is the asset folders of one image for one role on one host. Each
// asset path has two folders in Dir: `own`, the image's files as they are, and
// the merged one, which containers mount and which also holds the other
// generation's files.
type Bridge struct {
	Host  host.Host
	Sudo  bool
	Image string
	// Paths are the asset folders in the image.
	Paths []string
	// Rules say, by path, whose version counts of a file that both generations
	// have: RuleNew, RuleOld, or none if each keeps its own.
	Rules map[string]string
	// Writable are the paths that containers may write into.
	Writable map[string]bool
	// Containers are all that there are on the host, in whatever state: they
	// decide which folders commands stay out of.
	Containers []engine.Container
	// Root is where all asset folders of the service are, for no other user of
	// the host: an image may hold a program that runs as its owner. Dir is this
	// image's.
	Root, Dir string
	// Helper names the container that is created to copy from the image.
	Helper string
	Labels map[string]string
	// Warn reports a container that did not get what it was to get.
	Warn func(text string)
}

// The rules for files of a stable name.
const (
	RuleNew = "new"
	RuleOld = "old"
)

// marker is not the name that a kstep before read-only mounts wrote: the files
// that it extracted are linked into folders that containers can write.
const marker = "bridge.json"

// complete is written last, so that its presence vouches for the rest.
type complete struct {
	Image   string   `json:"image"`
	Paths   []string `json:"paths"`
	Merged  []string `json:"merged"`  // The merged folders that were made.
	Bridged []string `json:"bridged"` // The other generations' folders.
	// Rules are those that it was bridged by.
	Rules map[string]string `json:"rules,omitempty"`
}

// Todo is what Build has to do.
type Todo struct {
	extract  bool
	merge    []string // Paths whose merged folder is made.
	exchange []other
	have     complete
}

// Step is one change that Build makes.
type Step struct{ Verb, What string }

// Steps are the changes in their order; none where all is done.
func (t Todo) Steps() []Step {
	var steps []Step
	if t.extract {
		steps = append(steps, Step{"extract", strings.Join(t.have.Paths, ", ")})
	}
	for _, p := range t.merge {
		if !t.extract {
			steps = append(steps, Step{"make", "the folder of " + p})
		}
	}
	for _, o := range t.exchange {
		steps = append(steps, Step{"bridge", o.path + " with " + o.folder.image})
	}
	return steps
}

// Extracts reports whether files are copied out of the image, by a container
// that replaces one that a killed run left.
func (t Todo) Extracts() bool { return t.extract }

// Volumes are the folders to mount.
func (b Bridge) Volumes() []state.AssetVolume {
	var volumes []state.AssetVolume
	for _, p := range b.Paths {
		volumes = append(volumes, state.AssetVolume{Path: p, HostDir: b.merged(p).path()})
	}
	return volumes
}

// Look returns what is to be done: folders to be made, and to be bridged with
// those that the running containers have mounted.
func (b Bridge) Look(ctx context.Context, running []engine.Container) (Todo, error) {
	have, err := b.read(ctx, b.Dir)
	if err != nil {
		return Todo{}, err
	}
	others := b.others(running)
	if have == nil || have.Image != b.Image || !slices.Equal(have.Paths, b.Paths) {
		return Todo{extract: true, merge: b.Paths, exchange: others, have: complete{Image: b.Image, Paths: b.Paths}}, nil
	}
	todo := Todo{have: *have}
	done := maps.Equal(have.Rules, b.Rules) && !slices.ContainsFunc(others, func(o other) bool { return !slices.Contains(have.Bridged, o.folder.path()) })
	for _, p := range b.Paths {
		f := b.merged(p)
		made := slices.Contains(have.Merged, f.path())
		// What a container has written there may lead anywhere: it is made again.
		again := !done && f.kind == writable && !b.isMounted(f)
		if !made || again {
			todo.merge = append(todo.merge, p)
		}
	}
	if !done || len(todo.merge) > 0 {
		todo.exchange = others
	}
	return todo, nil
}

// Build does what Look found, and calls done after each step.
func (b Bridge) Build(ctx context.Context, todo Todo, done func(Step)) error {
	steps := todo.Steps()
	if len(steps) == 0 {
		return nil
	}
	next := func() { done(steps[0]); steps = steps[1:] }
	have := todo.have
	have.Rules = b.Rules
	if todo.extract {
		if err := b.extract(ctx); err != nil {
			return err
		}
	}
	for _, p := range todo.merge {
		if err := b.merge(ctx, p); err != nil {
			return err
		}
		have.Merged = append(have.Merged, b.merged(p).path())
		if !todo.extract {
			next()
		}
	}
	if todo.extract {
		next()
	}
	for _, o := range todo.exchange {
		if err := b.exchange(ctx, o); err != nil {
			return err
		}
		next()
		have.Bridged = append(have.Bridged, o.folder.path())
	}
	for _, list := range []*[]string{&have.Merged, &have.Bridged} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return b.write(ctx, b.Dir, have)
}

func (b Bridge) read(ctx context.Context, dir string) (*complete, error) {
	data, err := b.Host.Files().Read(ctx, path.Join(dir, marker))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c complete
	if json.Unmarshal(data, &c) != nil {
		return nil, nil // Not ours or torn: made again.
	}
	return &c, nil
}

func (b Bridge) write(ctx context.Context, dir string, c complete) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return b.Host.Files().Write(ctx, path.Join(dir, marker), data, 0o644)
}

// other is another generation's folder, mounted in a container.
type other struct {
	path      string
	folder    folder
	container engine.Container
}

func (b Bridge) others(running []engine.Container) []other {
	var found []other
	for _, c := range running {
		for _, m := range c.Mounts {
			f, ok := folderAt(b.Root, m.Source)
			if ok && f.image != path.Base(b.Dir) && slices.Contains(b.Paths, m.Target) &&
				!slices.ContainsFunc(found, func(o other) bool { return o.folder == f && o.path == m.Target }) {
				found = append(found, other{m.Target, f, c})
			}
		}
	}
	return found
}

// extract copies the image's folders to the host, from scratch: a run that was
// killed may have left half of them.
func (b Bridge) extract(ctx context.Context) error {
	if err := b.Host.Files().Mkdir(ctx, b.Root, 0o700); err != nil {
		return err
	}
	var trees []tree
	for _, p := range b.Paths {
		trees = append(trees, b.own(p))
	}
	if err := b.clear(ctx, trees...); err != nil {
		return err
	}
	volumes := map[string]string{}
	for i, p := range b.Paths {
		if err := b.Host.Files().Mkdir(ctx, trees[i].path, 0o755); err != nil {
			return err
		}
		volumes[p] = trees[i].path
	}
	err := b.Host.Engine().Extract(ctx, engine.Extract{
		Image: b.Image, Name: b.Helper, Labels: b.Labels, Folders: volumes,
	})
	if err != nil {
		err = fmt.Errorf("copy assets out of the image: %w", err)
		if errors.Is(err, engine.ErrNotFound) {
			err = exit.Hint(err, "check asset_path: it must be a folder in the image, or a link to one there")
		}
	}
	return err
}

// merge fills the folder that containers mount with the image's own files. One
// that a container has already is complete; files that it may have removed there
// do not come back.
func (b Bridge) merge(ctx context.Context, p string) error {
	f := b.merged(p)
	to, ok := b.tree(f)
	if !ok {
		return nil
	}
	if b.isMounted(f) {
		return b.lend(ctx, "copy assets", loan{b.own(p), to, b.own(p), f.kind == writable})
	}
	return b.copy(ctx, "copy assets", fill, b.own(p), to, b.own(p), f.kind == writable)
}

// exchange gives each generation the files of the other that it lacks. A file
// that both have stays as each version made it (a manifest with a stable name
// must match its own version).
func (b Bridge) exchange(ctx context.Context, o other) error {
	ours, theirs := b.own(o.path), b.ownOf(o.folder)
	var loans []loan
	if to, ok := b.tree(o.folder); ok {
		loans = append(loans, loan{ours, to, theirs, o.folder.kind == writable})
	} else if err := b.give(ctx, o.container, o.path, b.Image, ours, theirs); err != nil {
		return err
	}
	for _, f := range b.all(o.path) {
		if to, ok := b.tree(f); ok {
			loans = append(loans, loan{theirs, to, ours, f.kind == writable || o.folder.kind == earlier})
		} else if err := b.give(ctx, b.writers(f)[0], o.path, o.container.ImageID, theirs, ours); err != nil {
			return err
		}
	}
	if err := b.lend(ctx, "lend assets of each version to the other", loans...); err != nil {
		return err
	}
	return b.settle(ctx, o)
}

// give lends files of an image to a container that can write its folder. The
// engine unpacks them in the container, as copies: no command of the host works
// in that folder, and no file there is one that another version has. A container
// can keep files out of its own folder, and does not stop a deploy by that.
func (b Bridge) give(ctx context.Context, to engine.Container, folder, image string, from, have tree) error {
	names, err := b.names(ctx, from)
	if err != nil {
		return err
	}
	there, err := b.names(ctx, have)
	if err != nil {
		return err
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return there[name] })
	if len(names) == 0 {
		return nil
	}
	left, err := b.Host.Engine().Give(ctx, engine.Gift{
		Extract: engine.Extract{Image: image, Name: b.Helper, Labels: b.Labels}, Folder: folder,
		Container: to.ID, Path: folder, Wanted: func(name string) bool { return names[name] },
	})
	switch {
	case errors.Is(err, engine.ErrDiskFull), errors.Is(err, engine.ErrUnreachable), ctx.Err() != nil, exit.CodeOf(err) == exit.Unreachable:
		return fmt.Errorf("lend assets to container %s: %w", to.Name, err)
	case err != nil:
		b.Warn(fmt.Sprintf("%s lacks assets of the other version in %s, which it can write: %v", to.Name, folder, err))
	case len(left) > 0:
		b.Warn(fmt.Sprintf("%s lacks %d assets of the other version in %s, hard links in the image such as %q", to.Name, len(left), folder, left[0]))
	}
	return nil
}

// settle makes one version count of the files that both have, where a rule says
// so. A container that can write its folder keeps its own.
func (b Bridge) settle(ctx context.Context, o other) error {
	rule := b.Rules[o.path]
	if rule == "" {
		return nil
	}
	from, shared := b.own(o.path), false
	if rule == RuleOld {
		from, shared = b.ownOf(o.folder), o.folder.kind == earlier
	}
	for _, f := range append(b.all(o.path), o.folder) {
		to, ok := b.tree(f)
		if !ok {
			continue
		}
		if err := b.copy(ctx, "exchange assets that both versions have", overlay, from, to, b.ownOf(f), shared || f.kind == writable); err != nil {
			return err
		}
	}
	// Who goes back to the other one has to exchange them again.
	dir := path.Join(b.Root, o.folder.image)
	theirs, err := b.read(ctx, dir)
	if err != nil || theirs == nil {
		return err
	}
	theirs.Bridged = slices.DeleteFunc(theirs.Bridged, func(other string) bool {
		return slices.ContainsFunc(b.all(o.path), func(f folder) bool { return f.path() == other })
	})
	return b.write(ctx, dir, *theirs)
}
