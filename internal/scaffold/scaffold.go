// Package scaffold writes the files that a project starts with: a commented
// kstep.yml, sample hooks, and lines for .gitignore. It never changes what is
// already there, except for adding lines to .gitignore.
package scaffold

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/exit"
)

//go:embed files
var files embed.FS

// placeholder is the service's name in the template.
const placeholder = "my-app"

// Action is what happened to a file.
type Action string

// The actions of Init.
const (
	Created Action = "created"
	Updated Action = "updated" // Lines were added.
	Kept    Action = "kept"    // It was there; it is as it was.
)

// Result is a file, relative to the project's folder, and what happened to it.
type Result struct {
	Path   string
	Action Action
}

// Init writes what is missing in dir. Called again it keeps everything. It
// tells what it got done also when it returns an error.
func Init(dir string) ([]Result, error) {
	config, err := files.ReadFile("files/kstep.yml")
	if err != nil {
		return nil, err
	}
	var results []Result
	write := func(name string, data []byte, perm fs.FileMode) error {
		action, err := create(filepath.Join(dir, filepath.FromSlash(name)), data, perm)
		if err != nil {
			return exit.With(exit.Config, err)
		}
		results = append(results, Result{Path: name, Action: action})
		return nil
	}
	if err := write("kstep.yml", bytes.ReplaceAll(config, []byte(placeholder), []byte(service(dir))), 0o644); err != nil {
		return results, err
	}
	hooks, err := files.ReadDir("files/hooks")
	if err != nil {
		return results, err
	}
	for _, hook := range hooks {
		data, err := files.ReadFile(path.Join("files/hooks", hook.Name()))
		if err != nil {
			return results, err
		}
		if err := write(path.Join(".kstep/hooks", hook.Name()), data, 0o755); err != nil {
			return results, err
		}
	}
	action, err := ignore(filepath.Join(dir, ".gitignore"))
	if err != nil {
		return results, exit.With(exit.Config, err)
	}
	return append(results, Result{Path: ".gitignore", Action: action}), nil
}

// create writes a file that is not there yet, whole or not at all.
func create(name string, data []byte, perm fs.FileMode) (Action, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return Kept, nil
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = cmp.Or(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return Created, nil
}

// ignored are the lines that .gitignore must have: the state of a pipeline run
// belongs to that run, and .env files hold secrets; their templates do not.
func ignored() []string { return []string{"kstep-state/", ".env*", "!.env*.tmpl"} }

// ignore adds the lines that are missing.
func ignore(name string) (Action, error) {
	old, err := os.ReadFile(name)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	lines := strings.Split(string(old), "\n")
	var missing []string
	for _, line := range ignored() {
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
		return "", err
	}
	_, err = f.WriteString(text)
	if err = cmp.Or(err, f.Close()); err != nil {
		return "", fmt.Errorf("add to %s: %w", name, err)
	}
	if existed {
		return Updated, nil
	}
	return Created, nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// service makes a service's name of the folder's.
func service(dir string) string {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return placeholder
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(filepath.Base(absolute)), "-"), "-")
	return cmp.Or(name, placeholder)
}
