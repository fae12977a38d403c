package sshconfig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/kstep/kstep/internal/platform"
)

// space is what separates words, as in OpenSSH.
const space = " \t\r\n"

// line is one line with a keyword.
type line struct {
	number  int
	keyword string // In lower case.
	rest    string // All after it.
}

// text is one file.
type text struct {
	path  string
	lines []line
	// exposed is why commands of the file must not be run, if it is private.
	exposed string
}

// errMissing is a file that is not there.
var errMissing = errors.New("the file does not exist")

// maxSize is far more than any configuration has.
const maxSize = 4 << 20

// read returns a file, which is read once. Folders are empty files, as in
// OpenSSH.
func (c *Config) read(path string) (*text, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have, ok := c.texts[path]; ok {
		return have, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errMissing)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	t := &text{path: path, exposed: exposed(info)}
	if !info.IsDir() {
		data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
		if err != nil {
			return nil, err
		}
		if len(data) > maxSize {
			return nil, fmt.Errorf("%s: the file is larger than %d MiB", path, maxSize>>20)
		}
		t.lines = parse(string(data))
	}
	c.texts[path] = t
	return t, nil
}

// exposed applies OpenSSH's rule for ~/.ssh/config.
func exposed(info fs.FileInfo) string {
	if platform.IsWindows {
		return "" // There are no modes and no owners, only access lists.
	}
	if info.Mode().Perm()&0o022 != 0 {
		return "the file is writable for other users"
	}
	owner, _, ok := platform.OwnerOf(info)
	if ok && owner != 0 && int(owner) != os.Getuid() {
		return "the file belongs to another user"
	}
	return ""
}

// parse splits a text into its lines. Empty lines and comments are left out.
func parse(data string) []line {
	data = strings.TrimPrefix(data, "\uFEFF")
	var lines []line
	number := 0
	for one := range strings.SplitSeq(data, "\n") {
		number++
		one, _, _ = strings.Cut(one, "\x00")
		keyword, rest, ok := cutKeyword(strings.TrimRight(one, space+"\f"))
		if ok && keyword != "" && keyword[0] != '#' {
			lines = append(lines, line{number, strings.ToLower(keyword), rest})
		}
	}
	return lines
}

// cutKeyword splits a line at the end of its first word. One `=` may stand
// between the two, and the word may be quoted. A quote without an end makes the
// line one without a keyword.
func cutKeyword(s string) (keyword, rest string, ok bool) {
	s = strings.TrimLeft(s, space)
	at := strings.IndexAny(s, space+`"=`)
	switch {
	case at < 0:
		return s, "", true
	case s[at] == '"':
		quoted, after, closed := strings.Cut(s[at+1:], `"`)
		return s[:at] + quoted, strings.TrimLeft(after, space), closed
	}
	rest = strings.TrimLeft(s[at+1:], space)
	if s[at] != '=' && strings.HasPrefix(rest, "=") {
		rest = strings.TrimLeft(rest[1:], space)
	}
	return s[:at], rest, true
}

// errQuotes is a line whose quotes do not end.
var errQuotes = errors.New("a quote has no end")

// splitArguments splits what follows a keyword. Quotes group words, a
// backslash escapes a quote, a backslash or a space, and an unquoted `#` at the
// start of a word begins a comment.
func splitArguments(s string) ([]string, error) {
	var args []string
	for i := 0; i < len(s); i++ {
		if s[i] == ' ' || s[i] == '\t' {
			continue
		}
		if s[i] == '#' {
			break
		}
		word, end, err := cutArgument(s, i)
		if err != nil {
			return nil, err
		}
		args, i = append(args, word), end
	}
	return args, nil
}

// cutArgument reads the word that begins at i.
func cutArgument(s string, i int) (word string, end int, err error) {
	var b strings.Builder
	var quote byte
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s) && (strings.IndexByte(`'"\`, s[i+1]) >= 0 || quote == 0 && s[i+1] == ' '):
			i++
			b.WriteByte(s[i])
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), i, nil
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", i, errQuotes
	}
	return b.String(), i, nil
}
