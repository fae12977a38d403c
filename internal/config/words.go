package config

import (
	"errors"
	"strings"
)

// Words splits a command line as a POSIX shell does: blanks separate, quotes
// and backslashes join. Nothing is expanded, no shell runs.
func Words(line string) ([]string, error) {
	var (
		all    []string
		word   strings.Builder
		inWord bool
		quote  rune
		escape bool
	)
	for _, r := range line {
		switch {
		case escape:
			// Within double quotes a backslash only escapes these.
			if quote == '"' && !strings.ContainsRune("\"\\$`\n", r) {
				word.WriteByte('\\')
			}
			if r != '\n' { // A line goes on after backslash and newline.
				word.WriteRune(r)
				inWord = true
			}
			escape = false
		case r == '\\' && quote != '\'':
			escape = true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\n", r):
			if inWord {
				all = append(all, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("a quote is not closed")
	case escape:
		return nil, errors.New("ends with a backslash")
	}
	if inWord {
		all = append(all, word.String())
	}
	return all, nil
}
