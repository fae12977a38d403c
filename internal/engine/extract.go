package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/kstep/kstep/internal/linger"
)

// Extract fills host folders from an image, on the host. When a container is
// created, the engine copies the image's folder into an empty volume that
// covers it; here the volume is the host folder. The container is never
// started, so it does not matter what the image can run. A folder may
// be a link to one in the image. ErrNotFound if the image or one of the folders in
// it is missing.
func (c *Client) Extract(ctx context.Context, x Extract) error {
	if _, err := c.ready(ctx); err != nil {
		return err
	}
	var volumes []mount.Mount
	if err := c.withContainer(ctx, x, nil, func(id string) error {
		from := map[string]string{} // The path that was given, by the folder that it leads to.
		for _, given := range slices.Sorted(maps.Keys(x.Folders)) {
			folder, err := c.folderIn(ctx, x, id, given)
			if err != nil {
				return err
			}
			if other, twice := from[folder]; twice {
				return fmt.Errorf("%s and %s are the same folder %s in image %s: name one of them", other, given, folder, x.Image)
			}
			from[folder] = given
			volumes = append(volumes, mount.Mount{
				Type: mount.TypeVolume, Target: folder,
				VolumeOptions: &mount.VolumeOptions{DriverConfig: &mount.Driver{
					Name:    "local",
					Options: map[string]string{"type": "none", "o": "bind", "device": x.Folders[given]},
				}},
			})
		}
		return nil
	}); err != nil {
		return err
	}
	return c.withContainer(ctx, x, volumes, func(string) error { return nil })
}

// folderIn returns the folder of a container that a path leads to, through links. The
// engine evaluates links within the container, so none leads to a path of the host.
// ErrNotFound if there is no folder.
func (c *Client) folderIn(ctx context.Context, x Extract, id, given string) (string, error) {
	missing := func(why string) (string, error) {
		return "", fmt.Errorf("find folder %s in image %s on %s: %w: %s", given, x.Image, c.host, ErrNotFound, why)
	}
	stat := func(folder string) (container.PathStat, bool, error) {
		answer, err := c.api.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: folder})
		if cerrdefs.IsNotFound(err) { // The answer to HEAD has no words of its own.
			return answer.Stat, false, nil
		}
		return answer.Stat, err == nil, c.fail(fmt.Sprintf("find folder %s in image %s", folder, x.Image), err)
	}
	now, there, err := stat(given)
	if err != nil {
		return "", err
	}
	if !there {
		return missing("it is not there")
	}
	if now.Mode&fs.ModeSymlink == 0 {
		if !now.Mode.IsDir() {
			return missing("it is a file")
		}
		return given, nil
	}
	target := path.Clean("/" + now.LinkTarget)
	if target == "/" {
		return missing("it is a link to /, and assets are in a folder of their own")
	}
	switch to, there, err := stat(target); {
	case err != nil:
		return "", err
	case !there:
		return missing(fmt.Sprintf("it is a link to %s, which is not there", target))
	case !to.Mode.IsDir():
		return missing(fmt.Sprintf("it is a link to %s, which is not a folder", target))
	}
	return target, nil
}

// defaultPath is where engines search for programs in an image without PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Lacks returns the first group of which the image has none: absolute paths are
// files, names are programs that are searched for in the image's PATH. It is
// empty if the image has one of each. Nothing of the image is run.
func (c *Client) Lacks(ctx context.Context, x Extract, groups [][]string) (missing []string, err error) {
	if _, err := c.ready(ctx); err != nil {
		return nil, err
	}
	err = c.withContainer(ctx, x, nil, func(id string) error {
		dirs, err := c.searchPath(ctx, id)
		if err != nil {
			return err
		}
		for _, group := range groups {
			found, err := c.hasOne(ctx, id, dirs, group)
			if err != nil {
				return err
			}
			if !found {
				missing = group
				return nil
			}
		}
		return nil
	})
	return missing, err
}

func (c *Client) searchPath(ctx context.Context, id string) ([]string, error) {
	now, err := c.Inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	search := defaultPath
	for _, variable := range now.Env {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok && value != "" {
			search = value
		}
	}
	return strings.Split(search, ":"), nil
}

// hasOne checks all candidates in parallel.
func (c *Client) hasOne(ctx context.Context, id string, dirs, names []string) (bool, error) {
	var candidates []string
	for _, name := range names {
		if path.IsAbs(name) {
			candidates = append(candidates, name)
			continue
		}
		for _, dir := range dirs {
			candidates = append(candidates, path.Join("/", dir, name))
		}
	}
	found, errs := make([]bool, len(candidates)), make([]error, len(candidates))
	var all sync.WaitGroup
	for i, candidate := range candidates {
		all.Go(func() {
			answer, err := c.api.ContainerStatPath(ctx, id, client.ContainerStatPathOptions{Path: candidate})
			if cerrdefs.IsNotFound(err) {
				return
			}
			found[i] = err == nil && !answer.Stat.Mode.IsDir()
			if err != nil {
				errs[i] = c.fail("find "+candidate, err)
			}
		})
	}
	all.Wait()
	return slices.Contains(found, true), errors.Join(errs...)
}

// cleanUp bounds the removal of the container after an interruption.
const cleanUp = 3 * time.Second

// withContainer has a container that is not started around use. One that an
// interrupted run left behind gives way.
func (c *Client) withContainer(ctx context.Context, x Extract, volumes []mount.Mount, use func(id string) error) (err error) {
	options := client.ContainerCreateOptions{
		Name:       x.Name,
		Config:     &container.Config{Image: x.Image, Cmd: []string{"never-started"}, Labels: labelled(x.Labels)},
		HostConfig: &container.HostConfig{Mounts: volumes, NetworkMode: "none"},
	}
	if err := c.Remove(ctx, x.Name); err != nil {
		return err
	}
	made, err := c.api.ContainerCreate(ctx, options)
	if lost(ctx, err) { // It may be there: out of the way again.
		if err := c.Remove(ctx, x.Name); err != nil {
			return err
		}
		made, err = c.api.ContainerCreate(ctx, options)
	}
	if err != nil {
		return c.fail("create container "+x.Name, err)
	}
	defer func() {
		// Also when ctx has ended: what was made is taken away.
		clean, cancel := linger.Context(ctx, cleanUp)
		defer cancel()
		err = errors.Join(err, c.Remove(clean, made.ID))
	}()
	return use(made.ID)
}
