package rig

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// runDirs are where kstep keeps its files on a host: by default below the home
// of the SSH user, else where the tests say.
func runDirs() []string {
	return []string{"/root/.kstep", "/home/deploy/.kstep", "/home/nodocker/.kstep", "/var/lib/kstep"}
}

// reset removes everything that a deploy can have made on the host.
func (h *Host) reset(ctx context.Context) error {
	// The first file is there if a test stopped the engine and failed.
	script := `rm -rf /run/engine-off "$@" /root/.docker; find ` + SmallDir + ` -mindepth 1 -delete`
	if _, err := h.Exec(ctx, append([]string{"sh", "-c", script, "reset"}, runDirs()...)...); err != nil {
		return err
	}
	if err := h.awaitEngine(ctx); err != nil {
		return err
	}
	// In this order: the engine keeps what is in use.
	for _, remove := range []func(context.Context) error{
		h.removeContainers, h.removeNetworks, h.removeVolumes, h.removeImages,
	} {
		if err := remove(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) removeContainers(ctx context.Context) error {
	var list []struct {
		ID string `json:"Id"`
	}
	if err := h.Get(ctx, "/containers/json?all=1", &list); err != nil {
		return err
	}
	paths := make([]string, len(list))
	for i, c := range list {
		paths[i] = "/containers/" + c.ID + "?force=1&v=1"
	}
	return h.removeAll(ctx, paths)
}

func (h *Host) removeNetworks(ctx context.Context) error {
	var list []struct{ ID, Name string }
	if err := h.Get(ctx, "/networks", &list); err != nil {
		return err
	}
	var paths []string
	for _, n := range list {
		if !slices.Contains([]string{"bridge", "host", "none"}, n.Name) {
			paths = append(paths, "/networks/"+n.ID)
		}
	}
	return h.removeAll(ctx, paths)
}

func (h *Host) removeVolumes(ctx context.Context) error {
	var list struct{ Volumes []struct{ Name string } }
	if err := h.Get(ctx, "/volumes", &list); err != nil {
		return err
	}
	paths := make([]string, len(list.Volumes))
	for i, v := range list.Volumes {
		paths[i] = "/volumes/" + url.PathEscape(v.Name)
	}
	return h.removeAll(ctx, paths)
}

// removeImages keeps the proxy's image: it is big, and a host that has served
// before has it too.
func (h *Host) removeImages(ctx context.Context) error {
	images, err := h.Images(ctx)
	if err != nil {
		return err
	}
	var paths []string
	for _, i := range images {
		if !slices.Contains(i.RepoTags, TraefikImage) {
			paths = append(paths, "/images/"+i.ID+"?force=1")
		}
	}
	return h.removeAll(ctx, paths)
}

func (h *Host) removeAll(ctx context.Context, paths []string) error {
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() { errs[i] = h.call(ctx, http.MethodDelete, path, nil) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
