package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/platform"
)

// Validator judges the bytes of a state file. The schema's validator names
// the place with a JSON pointer; the secret scanner names the secret.
type Validator func([]byte) error

// Options are what a Dir needs from its surroundings.
type Options struct {
	// Validate is the schema's validator, for reading and writing.
	Validate Validator
	// Scan looks for secrets in what is about to be written.
	Scan Validator
	// Redact masks secrets in what people read: reasons, error messages and
	// what was done. They quote other programs, and must not make Scan refuse
	// the whole file.
	Redact func(string) string
	// Key is the secret that seals what is written and what was read; without it,
	// or if it returns nil, nothing is sealed.
	Key func() ([]byte, error)
	// Adopt accepts, and overwrites, files of another service, destination or
	// release (`--adopt`).
	Adopt bool
}

// Expect is what a reader knows about the files it requests.
type Expect struct {
	// Service and Destination are those of the config. An empty Service
	// accepts every file.
	Service, Destination string
	// Release is the release this process works for; empty means the newest one in
	// the requested files.
	Release string
	// Resume accepts files of stages that failed or were interrupted.
	Resume bool
}

// Dir is the state folder.
type Dir struct {
	path string
	opt  Options
}

// Open takes a state folder. It need not exist yet: Write makes it.
func Open(path string, opt Options) (*Dir, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, exit.With(exit.BadState, fmt.Errorf("open state folder: %w", err), folderHint)
	case !info.IsDir():
		return nil, exit.With(exit.BadState, fmt.Errorf("open state folder %s: it is a file", path), folderHint)
	}
	return &Dir{path: filepath.Clean(path), opt: opt}, nil
}

const folderHint = "choose another folder with --state-dir"

// Path is the folder.
func (d *Dir) Path() string { return d.path }

// File is the path of a stage's file.
func (d *Dir) File(stage, shard string) string { return d.file(FileName(stage, shard)) }

// Writable makes the folder and tries to write in it, so that a stage learns
// before it touches a host that it could not record what it did.
func (d *Dir) Writable() error {
	if _, err := d.opt.key(); err != nil {
		return err
	}
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return exit.With(exit.BadState, fmt.Errorf("make state folder: %w", err), folderHint)
	}
	f, err := os.CreateTemp(d.path, ".writable*")
	if err != nil {
		return exit.With(exit.BadState, fmt.Errorf("write in state folder: %w", err),
			"make "+d.path+" writable for this user, or "+folderHint)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// list is the names of all state files in the folder, sorted; none if there is
// no folder.
func (d *Dir) list() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, exit.With(exit.BadState, fmt.Errorf("read state folder: %w", err), folderHint)
	}
	var names []string
	for _, entry := range entries {
		if stage := stageOf(entry.Name()); stage != "" && stage != planStage {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// bytes reads one file of the folder.
func (d *Dir) bytes(name string) ([]byte, error) {
	return plain(d.file(name), "it is not kstep's; remove it and run `kstep "+stageOf(name)+"` again")
}

// plain reads a file, whatever it turns out to be: links, folders, pipes and
// huge files are refused before anything of them is read.
func plain(path, tooLarge string) ([]byte, error) {
	f, err := platform.OpenPlain(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case errors.Is(err, syscall.ELOOP):
		return nil, bad(path, "is a symbolic link", "state files are plain files; put the file itself there")
	case err != nil:
		return nil, exit.With(exit.BadState, fmt.Errorf("read state: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, exit.With(exit.BadState, fmt.Errorf("read state: %w", err))
	case info.IsDir():
		return nil, bad(path, "is a folder", "CI downloads may unpack an artifact into a folder of its name; move the files up")
	case !info.Mode().IsRegular():
		return nil, bad(path, "is not a plain file", "remove it")
	case info.Size() > MaxSize:
		return nil, bad(path, fmt.Sprintf("has %d bytes; a state file never has more than %d", info.Size(), MaxSize), tooLarge)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, exit.With(exit.BadState, fmt.Errorf("read state %s: %w", path, err))
	}
	if len(data) > MaxSize {
		return nil, bad(path, "grows while it is read", "wait for what writes it, then run this again")
	}
	return data, nil
}

// bad is a state file's fault: what is wrong with it and what to do.
func bad(path, what string, hints ...string) error {
	return exit.With(exit.BadState, fmt.Errorf("%s %s", path, what), hints...)
}
