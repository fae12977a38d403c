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
// `all`, which is mounted and also holds the other generation's files.
type Bridge struct {
	Host  host.Host
	Sudo  bool
	Image string
	// Paths are the asset folders in the image.
	Paths []string
	// Rules tell, by path, whose version counts of a file that both generations
	// have: RuleNew, RuleOld, or none for each its own.
	Rules map[string]string
	// Writable are the paths that containers may write into. There nothing is
	// lent to a container that runs: it could lead the copy elsewhere.
	Writable map[string]bool
	// Root is where all asset folders of the service are, for no other user of
	// the host: an image may hold a program that runs as its owner. Dir is this
	// image's.
	Root, Dir string
	// Helper names the container that is created to copy from the image.
	Helper string
	Labels map[string]string
}

// The rules for files of a stable name.
const (
	RuleNew = "new"
	RuleOld = "old"
)

const marker = "complete.json"

// complete is written last, so that its presence vouches for the rest.
type complete struct {
	Image   string   `json:"image"`
	Paths   []string `json:"paths"`
	Bridged []string `json:"bridged"` // The other generations' folders.
	// Rules are those that it was bridged by.
	Rules map[string]string `json:"rules,omitempty"`
}

// Todo is what Build has to do.
type Todo struct {
	extract  bool
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
	for _, o := range t.exchange {
		steps = append(steps, Step{"bridge", o.path + " with " + path.Base(path.Dir(path.Dir(o.all)))})
	}
	return steps
}

// Extracts tells whether files are copied out of the image, by a container that
// replaces one that a killed run left.
func (t Todo) Extracts() bool { return t.extract }

// Volumes are the folders to mount.
func (b Bridge) Volumes() []state.AssetVolume {
	var volumes []state.AssetVolume
	for _, p := range b.Paths {
		volumes = append(volumes, state.AssetVolume{Path: p, HostDir: b.folder(p, "all")})
	}
	return volumes
}

// Look tells what is to be done: folders to be made, and to be bridged with
// those that the running containers have mounted.
func (b Bridge) Look(ctx context.Context, running []engine.Container) (Todo, error) {
	have, err := b.read(ctx, b.Dir)
	if err != nil {
		return Todo{}, err
	}
	others := b.others(running)
	if have == nil || have.Image != b.Image || !slices.Equal(have.Paths, b.Paths) {
		return Todo{extract: true, exchange: others, have: complete{Image: b.Image, Paths: b.Paths}}, nil
	}
	if maps.Equal(have.Rules, b.Rules) && !slices.ContainsFunc(others, func(o other) bool { return !slices.Contains(have.Bridged, o.all) }) {
		others = nil
	}
	return Todo{exchange: others, have: *have}, nil
}

// Build does what Look found, and tells each step once it is done.
func (b Bridge) Build(ctx context.Context, todo Todo, done func(Step)) error {
	steps := todo.Steps()
	if len(steps) == 0 {
		return nil
	}
	if todo.extract {
		if err := b.extract(ctx); err != nil {
			return err
		}
		done(steps[0])
		steps = steps[1:]
	}
	have := todo.have
	have.Rules = b.Rules
	for i, o := range todo.exchange {
		if err := b.exchange(ctx, o); err != nil {
			return err
		}
		done(steps[i])
		have.Bridged = append(have.Bridged, o.all)
	}
	slices.Sort(have.Bridged)
	have.Bridged = slices.Compact(have.Bridged)
	return b.write(ctx, b.Dir, have)
}

// folder is where an asset path lives below Dir.
func (b Bridge) folder(assetPath, kind string) string {
	flat := func(p string) string { return strings.ReplaceAll(strings.Trim(p, "/"), "/", "_") }
	name := flat(assetPath)
	if at := slices.Index(b.Paths, assetPath); slices.ContainsFunc(b.Paths[:max(0, at)], func(p string) bool { return flat(p) == name }) {
		name = fmt.Sprintf("%s_%d", name, at) // /a_b beside /a/b.
	}
	return path.Join(b.Dir, name, kind)
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

// other is another generation's folder, mounted in a running container.
type other struct{ path, all string }

func (b Bridge) others(running []engine.Container) []other {
	var found []other
	for _, c := range running {
		for _, m := range c.Mounts {
			o := other{m.Target, m.Source}
			if strings.HasPrefix(o.all, b.Root+"/") && !strings.HasPrefix(o.all, b.Dir+"/") &&
				slices.Contains(b.Paths, o.path) && !slices.Contains(found, o) {
				found = append(found, o)
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
	if err := b.run(ctx, "clear asset folder", `chmod 0700 -- "$2" && rm -rf -- "$1"`, b.Dir, b.Root); err != nil {
		return err
	}
	volumes := map[string]string{}
	for _, p := range b.Paths {
		for _, kind := range []string{"own", "all"} {
			if err := b.Host.Files().Mkdir(ctx, b.folder(p, kind), 0o755); err != nil {
				return err
			}
		}
		volumes[p] = b.folder(p, "own")
	}
	err := b.Host.Engine().Extract(ctx, engine.Extract{
		Image: b.Image, Name: b.Helper, Labels: b.Labels, Folders: volumes,
	})
	if err != nil {
		err = fmt.Errorf("copy assets out of the image: %w", err)
		if errors.Is(err, engine.ErrNotFound) {
			err = exit.Hint(err, "check asset_path: it must be a folder in the image")
		}
		return err
	}
	for _, p := range b.Paths {
		if err := b.run(ctx, "copy assets", addMissing, b.folder(p, "own"), b.folder(p, "all")); err != nil {
			return err
		}
	}
	return nil
}

// exchange gives each generation the files of the other that it lacks. A file
// that both have stays as each version made it (a manifest with a stable name
// must match its own version).
func (b Bridge) exchange(ctx context.Context, o other) error {
	if !b.Writable[o.path] {
		if err := b.run(ctx, "lend new assets to the old version", addMissing, b.folder(o.path, "own"), o.all); err != nil {
			return err
		}
	}
	theirs := path.Join(path.Dir(o.all), "own")
	if err := b.run(ctx, "lend old assets to the new version", addMissing, theirs, b.folder(o.path, "all")); err != nil {
		return err
	}
	return b.settle(ctx, o)
}

// settle makes one version count of the files that both have, where a rule says
// so.
func (b Bridge) settle(ctx context.Context, o other) error {
	rule := b.Rules[o.path]
	if rule == "" {
		return nil
	}
	from := b.folder(o.path, "own")
	if rule == RuleOld {
		from = path.Join(path.Dir(o.all), "own")
	}
	for _, to := range []string{b.folder(o.path, "all"), o.all} {
		if to == o.all && b.Writable[o.path] {
			continue
		}
		if err := b.run(ctx, "exchange assets that both versions have", overlay, from, to); err != nil {
			return err
		}
	}
	// Who goes back to the other one has to exchange them again.
	dir := path.Dir(path.Dir(o.all))
	theirs, err := b.read(ctx, dir)
	if err != nil || theirs == nil {
		return err
	}
	theirs.Bridged = slices.DeleteFunc(theirs.Bridged, func(all string) bool { return all == b.folder(o.path, "all") })
	return b.write(ctx, dir, *theirs)
}

func (b Bridge) run(ctx context.Context, what, script, from, to string) error {
	argv := []string{"sh", "-c", script, "kstep", from, to}
	if b.Sudo {
		argv = append([]string{"sudo", "-n"}, argv...)
	}
	if _, err := b.Host.Run(ctx, argv, nil); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
