package envify

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/secret"
)

// Write makes path the dotenv file of the variables, whole or not at all, and
// for its owner alone. changed reports whether the file differs now.
func Write(path, template string, variables map[string]string) (changed bool, err error) {
	text, err := secret.FormatDotenv(variables)
	if err != nil {
		return false, err
	}
	data := []byte("# Made by `kstep envify` from " + filepath.Base(template) + ": change that.\n" + text)
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() == 0o600 {
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
			return false, nil
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // Mode 0600.
	if err != nil {
		return false, exit.With(exit.Config, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return false, exit.With(exit.Config, errors.Join(err, os.Remove(f.Name())))
	}
	return true, nil
}
