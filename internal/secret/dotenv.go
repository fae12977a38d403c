package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/joho/godotenv"

	"github.com/kstep/kstep/internal/exit"
)

// maxDotenv bounds a dotenv file; real ones have a few kilobytes.
const maxDotenv = 1 << 20

// dotenv is a file of NAME=value lines, read when the first name is looked
// up. A missing file has no names.
func dotenv(path string) source {
	load := sync.OnceValues(func() (map[string]string, error) { return readDotenv(path) })
	return source{name: path, lookup: func(name string) (string, bool, error) {
		values, err := load()
		value, found := values[name]
		return value, found, err
	}}
}

func readDotenv(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxDotenv) {
		err = fmt.Errorf("it is no plain file of at most %d bytes", maxDotenv)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, exit.With(exit.Config, fmt.Errorf("read secrets from %s: %w", path, err), "mend or remove the file")
	}
	values, err := godotenv.UnmarshalBytes(data)
	if err != nil {
		// The parser's message quotes the file, and so perhaps a secret.
		return nil, exit.With(exit.Config, fmt.Errorf("read secrets from %s: line %d is not NAME=value", path, faultyLine(string(data))),
			"put values with spaces, quotes or $ into single quotes: NAME='…'")
	}
	return values, unresolved(path, string(data), values)
}

var reference = regexp.MustCompile(`\$\{?([A-Z0-9_]+)`)

// unresolved refuses values that the parser would silently shorten: it
// replaces $NAME by nothing where the file does not define NAME, which is how a
// generated password loses its end.
func unresolved(path, text string, values map[string]string) error {
	const stand = "\x00" // For a dollar sign, so that nothing is replaced.
	literal, err := godotenv.Unmarshal(strings.ReplaceAll(text, "$", stand))
	if err != nil {
		return nil // Zero bytes or the like; the values are what the parser says.
	}
	for _, name := range slices.Sorted(maps.Keys(literal)) {
		written := strings.ReplaceAll(literal[name], stand, "$")
		if written == values[name] {
			continue
		}
		refs := reference.FindAllStringSubmatch(written, -1)
		if len(refs) > 0 && !slices.ContainsFunc(refs, func(ref []string) bool { return values[ref[1]] == "" }) {
			continue
		}
		return exit.With(exit.Config,
			fmt.Errorf("read secrets from %s: %s has a $ that names no variable of the file", path, name),
			"put the value into single quotes, then $ is taken as it is: "+name+"='…'")
	}
	return nil
}

// faultyLine is where the statement begins that the parser stumbles over: the
// line after the longest beginning of the file that it takes.
func faultyLine(text string) int {
	lines := strings.SplitAfter(text, "\n")
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "")); err == nil {
			return n + 1
		}
	}
	return 1
}
