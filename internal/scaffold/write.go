package scaffold

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/exit"
)

// Action is what happened to a file.
type Action string

// The actions of Init.
const (
	Created Action = "created"
	Updated Action = "updated" // Lines were added.
	Kept    Action = "kept"    // It has the lines already.
)

// Result is a file, relative to the project's folder, and what happened to it.
type Result struct {
	Path   string
	Action Action
}

// file is one that Init creates. Its name has slashes.
type file struct {
	name string
	data []byte
	perm fs.FileMode
}

// writeAll creates the files, or none where one exists.
func writeAll(dir string, list []file) ([]Result, error) {
	for _, f := range list {
		name := filepath.Join(dir, filepath.FromSlash(f.name))
		switch _, err := os.Lstat(name); {
		case err == nil:
			return nil, exists(name)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, exit.With(exit.Config, err)
		}
	}
	var results []Result
	var done []string
	for _, f := range list {
		name := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := create(name, f.data, f.perm); err != nil {
			for _, d := range done {
				err = errors.Join(err, os.Remove(d))
			}
			return nil, err
		}
		done = append(done, name)
		results = append(results, Result{Path: f.name, Action: Created})
	}
	return results, nil
}

func exists(name string) error {
	return exit.With(exit.Config, fmt.Errorf("%s exists; no file was written", name),
		"kstep init overwrites nothing: move the file away, or write another one with: kstep init -c other/kstep.yml")
}

// create writes a file that is not there yet, whole or not at all.
func create(name string, data []byte, perm fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return exit.With(exit.Config, err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return exit.With(exit.Config, fmt.Errorf("%s exists", name))
	}
	if err != nil {
		return exit.With(exit.Config, err)
	}
	_, err = f.Write(data)
	if err = cmp.Or(err, f.Close()); err != nil {
		return exit.With(exit.Config, errors.Join(err, os.Remove(name)))
	}
	return nil
}

// check loads the text as kstep does. What is wrong with it came from the command line.
func check(text string) error {
	dir, err := os.MkdirTemp("", "kstep-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "kstep.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return err
	}
	_, err = config.Load(config.LoadOptions{Path: name})
	var problems config.Errors
	if !errors.As(err, &problems) {
		return err
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, strings.TrimPrefix(p.Path+": "+p.Message, ": "))
	}
	return exit.With(exit.Usage, errors.New(strings.Join(lines, "\n")), "no file was written; correct the flags or answers: kstep init --help")
}

type ignoreList struct {
	name  string
	lines []string
}

// gitIgnored are the lines that .gitignore must have: the state of a pipeline run
// belongs to that run, and .env files hold secrets; their templates do not.
func gitIgnored() []string { return []string{"kstep-state/", ".env*", "!.env*.tmpl"} }

// dockerIgnored keeps secrets and what the application does not need out of the image.
func dockerIgnored() []string {
	return []string{".git", ".env*", ".kstep", "kstep*.yml", "kstep-state", "Dockerfile", "**/node_modules"}
}

// addLines adds the lines that the file lacks.
func addLines(name string, wanted []string) (Action, error) {
	old, err := os.ReadFile(name)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", exit.With(exit.Config, err)
	}
	lines := strings.Split(string(old), "\n")
	var missing []string
	for _, line := range wanted {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.TrimPrefix(strings.TrimSpace(l), "/") == line }) {
			missing = append(missing, line)
		}
	}
	if len(missing) == 0 {
		return Kept, nil
	}
	text := strings.Join(missing, "\n") + "\n"
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		text = "\n" + text
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return "", exit.With(exit.Config, err)
	}
	_, err = f.WriteString(text)
	if err = cmp.Or(err, f.Close()); err != nil {
		return "", exit.With(exit.Config, fmt.Errorf("add to %s: %w", name, err))
	}
	if existed {
		return Updated, nil
	}
	return Created, nil
}
