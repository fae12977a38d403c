package secret

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kstep/kstep/internal/exit"
)

// statement is a NAME=value of a dotenv file, as it is written.
type statement struct {
	name  string
	raw   string // Without its quotes.
	quote byte   // ' or ", or 0.
	line  int    // From 1.
}

var statementHead = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z0-9_.]+)[ \t]*[=:][ \t]*`)

// statements splits the text of a dotenv file by the parser's own rules: a
// quoted value ends at the first quote that has no backslash before it. It stops
// where it does not understand the text, which is then the parser's to refuse.
func statements(text string) []statement {
	whole := strings.ReplaceAll(text, "\r\n", "\n")
	var all []statement
	for rest := whole; ; {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		if strings.HasPrefix(rest, "#") {
			_, rest, _ = strings.Cut(rest, "\n")
			continue
		}
		head := statementHead.FindStringSubmatch(rest)
		if head == nil {
			return all
		}
		s := statement{name: head[1], line: 1 + strings.Count(whole[:len(whole)-len(rest)], "\n")}
		rest = rest[len(head[0]):]
		if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
			s.quote = rest[0]
			end := closingQuote(rest)
			if end < 0 {
				return all
			}
			s.raw, rest = rest[1:end], rest[end+1:]
		} else {
			s.raw, rest, _ = strings.Cut(rest, "\n")
			s.raw, _, _ = strings.Cut(s.raw, " #")
		}
		all = append(all, s)
	}
}

func closingQuote(text string) int {
	for i := 1; i < len(text); i++ {
		if text[i] == text[0] && text[i-1] != '\\' {
			return i
		}
	}
	return -1
}

const singleQuotes = "put the value into single quotes, then it is taken as it is: %s='…'"

// readable refuses what the parser would take for something else than a person
// means, or what other tools do and kstep does not. It repeats no value.
func readable(where, text string) error {
	for _, s := range statements(text) {
		var message, hint string
		command := ""
		if s.quote != '\'' {
			command = substitution(s.raw)
		}
		escape, unknown := "", false
		if s.quote == '"' {
			escape, unknown = unknownEscape(s.raw)
		}
		switch {
		case !utf8.ValidString(s.raw):
			message, hint = "%s is not valid UTF-8", "save the file as UTF-8"
		case command != "":
			message = "%s has " + command + ", and kstep runs no commands from this file"
			hint = "to run a command, name it under secrets.commands in kstep.yml; if the value is meant as written, " + fmt.Sprintf(singleQuotes, s.name)
		case s.quote != '\'' && defaulted(s.raw):
			message = "%s has a variable with more than its name in the braces, such as ${NAME:-default}, which this file cannot have"
			hint = "write the value out; if it is meant as written, " + fmt.Sprintf(singleQuotes, s.name)
		case unknown:
			message = "%s has " + escape + " in double quotes, which is not an escape"
			hint = fmt.Sprintf(singleQuotes, s.name) + `; or write \\ for a backslash`
		default:
			continue
		}
		return exit.With(exit.Config, fmt.Errorf("read secrets from %s: line %d: "+message, where, s.line, s.name), hint)
	}
	return nil
}

// substitution is the command substitution that a shell would find in a value.
func substitution(raw string) string {
	backticks := 0
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == '\\':
			i++
		case strings.HasPrefix(raw[i:], "$("):
			return "$(…)"
		case raw[i] == '`':
			backticks++
		}
	}
	if backticks > 1 {
		return "a command in backticks"
	}
	return ""
}

var braces = regexp.MustCompile(`(\\?)\$\{[A-Z0-9_]+[^A-Z0-9_}]`)

// defaulted finds a variable with more than its name in the braces. The parser
// would put the variable's value there and leave the rest.
func defaulted(raw string) bool {
	return slices.ContainsFunc(braces.FindAllStringSubmatch(raw, -1), func(found []string) bool { return found[1] == "" })
}

// unknownEscape finds a backslash that the parser would drop. It is named with
// the letter behind it; another character may be a part of a secret.
func unknownEscape(raw string) (named string, found bool) {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if i++; strings.IndexByte("nr\\\"$`'\n", raw[i]) >= 0 {
			continue
		}
		if strings.IndexByte("abeftuvxdswDSW0", raw[i]) >= 0 {
			return `\` + raw[i:i+1], true
		}
		return "a backslash", true
	}
	return "", false
}

// encoding refuses a file that is not in UTF-8, and drops the byte order mark
// of one that is.
func encoding(data []byte, where string) ([]byte, error) {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(mark)) {
			return nil, exit.With(exit.Config, fmt.Errorf("read secrets from %s: it is UTF-16", where), "save the file as UTF-8")
		}
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}
