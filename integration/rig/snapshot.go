package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Snapshot is everything on the hosts that a deploy could change, one thing a
// line: containers with when they started, images, networks, volumes, and files
// with their modification times. Two are equal when nothing changed.
type Snapshot string

// Diff returns the lines that only one of the two has, marked - and +.
func (s Snapshot) Diff(after Snapshot) string {
	before, now := strings.Split(string(s), "\n"), strings.Split(string(after), "\n")
	var diff []string
	for _, line := range before {
		if !slices.Contains(now, line) {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			diff = append(diff, "+ "+line)
		}
	}
	return strings.Join(diff, "\n")
}

// Snapshot inspects all hosts. Files whose path contains one of the given
// strings are left out.
func (r *Rig) Snapshot(ctx context.Context, leaveOut ...string) (Snapshot, error) {
	var mu sync.Mutex
	var lines []string
	err := r.each(func(h *Host) error {
		found, err := h.inventory(ctx, leaveOut)
		mu.Lock()
		defer mu.Unlock()
		for _, line := range found {
			lines = append(lines, h.Name+" "+line)
		}
		return err
	})
	slices.Sort(lines)
	return Snapshot(strings.Join(lines, "\n")), err
}

func (h *Host) inventory(ctx context.Context, leaveOut []string) ([]string, error) {
	var lines []string
	for _, list := range []func(context.Context) ([]string, error){
		h.containerLines, h.imageLines, h.networkAndVolumeLines,
	} {
		more, err := list(ctx)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	files, err := h.Files(ctx)
	for _, file := range files {
		if !slices.ContainsFunc(leaveOut, func(s string) bool { return strings.Contains(file, s) }) {
			lines = append(lines, "file "+file)
		}
	}
	return lines, err
}

// Files lists the files in kstep's folders and in volumes, each as
// "path type mode owner:group size modified".
func (h *Host) Files(ctx context.Context) ([]string, error) {
	const script = `what='%p %y %m %u:%g %s %T+\n'
		find "$@" -printf "$what" 2>/dev/null
		find /var/lib/docker/volumes -path '*/_data/*' -printf "$what"`
	roots := append([]string{SmallDir}, runDirs()...)
	out, err := h.Exec(ctx, append([]string{"sh", "-c", script, "files"}, roots...)...)
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' }), err
}

func (h *Host) containerLines(ctx context.Context) ([]string, error) {
	containers, err := h.Containers(ctx)
	lines := make([]string, len(containers))
	for i, c := range containers {
		health := "none"
		if c.State.Health != nil {
			health = c.State.Health.Status
		}
		// Maps are encoded in the order of their keys.
		labels, _ := json.Marshal(c.Config.Labels)
		lines[i] = fmt.Sprintf("container %s %s image %s %s pid %d started %s finished %s restarts %d health %s labels %s",
			c.Name, c.ID, c.Image, c.State.Status, c.State.Pid, c.State.StartedAt, c.State.FinishedAt,
			c.RestartCount, health, labels)
	}
	return lines, err
}

func (h *Host) imageLines(ctx context.Context) ([]string, error) {
	images, err := h.Images(ctx)
	lines := make([]string, len(images))
	for i, image := range images {
		slices.Sort(image.RepoTags)
		lines[i] = fmt.Sprintf("image %s %s", image.ID, image.RepoTags)
	}
	return lines, err
}

func (h *Host) networkAndVolumeLines(ctx context.Context) ([]string, error) {
	var networks []struct{ ID, Name string }
	if err := h.Get(ctx, "/networks", &networks); err != nil {
		return nil, err
	}
	var volumes struct {
		Volumes []struct{ Name, CreatedAt string }
	}
	if err := h.Get(ctx, "/volumes", &volumes); err != nil {
		return nil, err
	}
	var lines []string
	for _, n := range networks {
		lines = append(lines, fmt.Sprintf("network %s %s", n.Name, n.ID))
	}
	for _, v := range volumes.Volumes {
		lines = append(lines, fmt.Sprintf("volume %s %s", v.Name, v.CreatedAt))
	}
	return lines, nil
}
