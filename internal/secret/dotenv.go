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
	"unicode/utf8"

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
		return nil, exit.With(exit.Config, fmt.Errorf("read secrets from %s: %w", path, err), "correct or remove the file")
	}
	return ParseDotenv(data, path)
}

// ParseDotenv reads the text of a dotenv file, which errors name as where. They
// do not repeat what is in it.
func ParseDotenv(data []byte, where string) (map[string]string, error) {
	data, err := encoding(data, where)
	if err != nil {
		return nil, err
	}
	values, err := godotenv.UnmarshalBytes(data)
	line := 0
	if err != nil {
		line = faultyLine(string(data))
	} else if _, found := values[""]; found {
		line = namelessLine(string(data))
	}
	if line > 0 {
		// The parser's message quotes the file, and so perhaps a secret.
		return nil, exit.With(exit.Config, fmt.Errorf("read secrets from %s: line %d is not NAME=value", where, line),
			"put values with spaces, quotes or $ into single quotes: NAME='…'")
	}
	if err := readable(where, string(data)); err != nil {
		return nil, err
	}
	return values, unresolved(where, string(data), values)
}

// signs are variables for the characters that the parser does not take at every
// place, such as a quote or a backslash before the closing quote.
const signs = "KSTEP_BACKSLASH=\\\nKSTEP_DOLLAR='$'\nKSTEP_QUOTE='\"'\nKSTEP_TICK='`'\n"

// FormatDotenv is the text of a dotenv file with these variables, sorted by
// name. Of the ways to write a value it takes the first that is read back as it
// was.
func FormatDotenv(variables map[string]string) (string, error) {
	var out strings.Builder
	head := ""
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if !utf8.ValidString(variables[name]) {
			return "", exit.With(exit.Config, fmt.Errorf("%s is not valid UTF-8, so it cannot be written to a dotenv file", name),
				"encode it, as base64 for example")
		}
		line, ok := formatted(name, variables[name], "")
		if !ok {
			line, ok = formatted(name, variables[name], signs)
			head = signs
		}
		if !ok {
			return "", exit.With(exit.Config, fmt.Errorf("%s and its value cannot be written to a dotenv file", name),
				"give it in the environment, or name the command that prints it under secrets.commands")
		}
		out.WriteString(line)
	}
	return head + out.String(), nil
}

// formatted is the variable's line, in a file that begins with head.
func formatted(name, value, head string) (line string, ok bool) {
	breaks := []string{"\n", `\n`, "\r", `\r`}
	escape := strings.NewReplacer(append(breaks, `\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")...)
	ways := []string{"'" + value + "'", `"` + escape.Replace(value) + `"`, value}
	if head != "" {
		spell := strings.NewReplacer(append(breaks, `\`, "${KSTEP_BACKSLASH}", `"`, "${KSTEP_QUOTE}", `$`, "${KSTEP_DOLLAR}", "`", "${KSTEP_TICK}")...)
		ways = []string{`"` + spell.Replace(value) + `"`}
	}
	for _, way := range ways {
		line := name + "=" + way + "\n"
		text := head + line + "KSTEP_END=1\n"
		back, err := godotenv.Unmarshal(text)
		whole := err == nil && back[name] == value && back["KSTEP_END"] == "1" && len(back) == 2+strings.Count(head, "\n")
		if whole && readable("", text) == nil && unresolved("", text, back) == nil {
			return line, true
		}
	}
	return "", false
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

// namelessLine is the first line without a name, which the parser takes.
func namelessLine(text string) int {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		if strings.HasPrefix(line, "=") || strings.HasPrefix(line, ":") {
			break
		}
	}
	return n
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
