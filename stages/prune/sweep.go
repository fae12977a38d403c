package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	hosts "github.com/kstep/kstep/internal/host"
	"github.com/kstep/kstep/internal/plan"
	"github.com/kstep/kstep/stages"
)

// abandoned is the age in minutes from which no process, such as another shard,
// still writes a half written file.
const abandoned = "+10"

// findTries is how often find runs at most, on a host whose messages are in
// another language than vanished knows.
const findTries = 3

// sweep removes files that a run was killed over.
func sweep(ctx context.Context, w *stages.Work, look func() ([]hosts.Below, error)) error {
	found, err := look()
	for _, file := range found {
		if err := w.Host.Files().Remove(ctx, file); err != nil {
			return err
		}
		w.Made(sweeping(file))
	}
	return err
}

// foreseeSweep is sweep without the act. On a new host there is no folder yet.
func foreseeSweep(ctx context.Context, in stages.Input, w *stages.Work) error {
	var dirs []string
	for _, dir := range watched(in, w) {
		_, err := w.Host.Files().Stat(ctx, dir)
		if err == nil {
			dirs = append(dirs, dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	found, err := halfWritten(ctx, w, dirs)
	for _, file := range found {
		w.Intend(sweeping(file))
	}
	return err
}

// watched are the folders that the service's stages write in.
func watched(in stages.Input, w *stages.Work) []string {
	dirs := []string{w.Names.Folder()}
	if slices.ContainsFunc(in.All, func(t plan.Target) bool { return t.Proxied && t.Host == w.Target.Host }) {
		dirs = append(dirs, w.Names.ProxyDir())
	}
	return dirs
}

// halfWritten are hidden from all who list folders, so one command looks for
// them; it changes nothing. It enters no folder that a container has mounted, and
// what it prints is taken for a name only if kstep can have made it.
func halfWritten(ctx context.Context, w *stages.Work, dirs []string) ([]hosts.Below, error) {
	if len(dirs) == 0 {
		return nil, nil
	}
	argv := append([]string{"find"}, dirs...)
	argv = append(argv, "(", "-path", literally(w.Names.Assets()), "-o", "-path", literally(w.Names.Cords()), ")", "-prune", "-o",
		"-name", hosts.TemporaryPattern, "-type", "f", "-mmin", abandoned, "-print0")
	found, err := w.Host.Run(ctx, argv, nil)
	for range findTries - 1 {
		if err == nil || !incomplete(err) {
			break
		}
		found, err = w.Host.Run(ctx, argv, nil) // What has vanished does so once.
	}
	if vanished(err) {
		err = nil // The rest was found.
	}
	if err != nil {
		return nil, fmt.Errorf("look for half written files: %w", err)
	}
	return temporary(string(found), dirs), nil
}

// incomplete reports whether find has failed at some of the files.
func incomplete(err error) bool {
	failed, ok := errors.AsType[*hosts.CommandError](err)
	return ok && failed.Status == 1 && !vanished(err)
}

// vanished reports whether find has failed only at files that went away while it
// ran: other jobs write and replace files in the same folders.
func vanished(err error) bool {
	failed, ok := errors.AsType[*hosts.CommandError](err)
	if !ok || failed.Status != 1 || failed.Stderr == "" {
		return false
	}
	for line := range strings.Lines(failed.Stderr) {
		if !strings.HasSuffix(strings.TrimSpace(line), "No such file or directory") {
			return false
		}
	}
	return true
}

// literally is a path as a pattern of find that matches only it.
func literally(folder string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(folder)
}

// temporary are those of the found files that kstep can have written below one of
// the folders. The rest of what find printed is passed over.
func temporary(found string, dirs []string) []hosts.Below {
	var files []hosts.Below
	for text := range strings.SplitSeq(found, "\x00") {
		if named, err := path.Match(hosts.TemporaryPattern, path.Base(text)); !named || err != nil {
			continue
		}
		for _, dir := range dirs {
			if file := hosts.Inside(dir, text); file.Err() == nil {
				files = append(files, file)
				break
			}
		}
	}
	return files
}

func sweeping(file hosts.Below) stages.Act { return removing("half written", path.Base(file.String())) }
