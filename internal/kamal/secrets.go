package kamal

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// secretLine is a line of a secrets file.
type secretLine struct {
	name  string
	value string
	// quote is the kind of quotes around the value, or 0.
	quote byte
	at    *node
}

// readSecrets reads the secrets files of Kamal 2, or .env of Kamal 1, for the
// main file and for each destination.
func (s *source) readSecrets() error {
	destinations := append([]string{""}, s.destinationNames()...)
	base := ".kamal/secrets"
	if path := text(s.base.get("secrets_path")); path != "" && filepath.IsLocal(path) {
		base = path
	}
	for _, d := range destinations {
		files := []string{base + "-common", base}
		if d != "" {
			files[1] = base + "." + d
		}
		if isVersion1(s.base) {
			files = []string{".env"}
			if d != "" {
				files = append(files, ".env."+d)
			}
		}
		for _, name := range files {
			lines, err := s.secretsFile(name)
			if err != nil {
				return err
			}
			s.dotenv[d] = append(s.dotenv[d], lines...)
		}
	}
	for _, name := range []string{".env.erb", ".env.tmpl.erb"} {
		if _, there, err := readIfThere(filepath.Join(s.dir, name)); err == nil && there {
			s.notes = append(s.notes, Entry{
				Kind: Changed, Key: "secrets", File: filepath.Join(s.dir, name), danger: Other,
				Text: "is a template in Ruby; kstep envify makes .env from .env.tmpl, which is written by hand",
			})
		}
	}
	return nil
}

var assignment = regexp.MustCompile(`^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$`)

func (s *source) secretsFile(name string) ([]secretLine, error) {
	path := filepath.Join(s.dir, name)
	data, there, err := readIfThere(path)
	if err != nil || !there {
		return nil, err
	}
	var all []secretLine
	lines := strings.Split(data, "\n")
	for i := 0; i < len(lines); i++ {
		m := assignment.FindStringSubmatch(strings.TrimSpace(lines[i]))
		if m == nil {
			continue
		}
		l := secretLine{name: m[1], value: m[2], at: &node{file: path, line: i + 1}}
		if l.value != "" && (l.value[0] == '"' || l.value[0] == '\'') {
			l.quote = l.value[0]
			body := l.value[1:]
			for closed := closingQuote(body, l.quote); closed < 0 && i+1 < len(lines); closed = closingQuote(body, l.quote) {
				i++
				body += "\n" + lines[i]
			}
			if end := closingQuote(body, l.quote); end >= 0 {
				body = body[:end]
			}
			l.value = body
		} else if !strings.HasPrefix(l.value, "$(") {
			l.value, _, _ = strings.Cut(l.value, " #")
			l.value = strings.TrimSpace(l.value)
		}
		all = append(all, l)
	}
	return all, nil
}

func closingQuote(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == '"':
			i++
		case s[i] == quote:
			return i
		}
	}
	return -1
}

var reference = regexp.MustCompile(`^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})$`)

// refersTo is the variable that is all of a line's value.
func (l secretLine) refersTo() string {
	if m := reference.FindStringSubmatch(l.value); m != nil && l.quote != '\'' {
		return m[1] + m[2]
	}
	return ""
}

// command is the command whose output is all of a line's value.
func (l secretLine) command() string {
	if l.quote == '\'' {
		return ""
	}
	value := strings.TrimSpace(l.value)
	if !strings.HasPrefix(value, "$(") {
		return ""
	}
	depth := 0
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				rest := strings.TrimSpace(value[i+1:])
				if rest == "" || strings.HasPrefix(rest, "#") {
					return strings.TrimSpace(value[2:i])
				}
				return ""
			}
		}
	}
	return ""
}

// secretLineOf is the last line for a name, which counts.
func (im *importer) secretLineOf(name string) (secretLine, bool) {
	all := im.src.dotenv[im.destination]
	for _, l := range slices.Backward(all) {
		if l.name == name {
			return l, true
		}
	}
	return secretLine{}, false
}

// readAliases finds secrets that are another variable: `A=$B`.
func (im *importer) readAliases() {
	im.aliases = map[string]string{}
	for _, l := range im.src.dotenv[im.destination] {
		delete(im.aliases, l.name)
		if other := l.refersTo(); other != "" && other != l.name {
			im.aliases[l.name] = other
		}
	}
}

// aliased is the secret that a name stands for.
func (im *importer) aliased(name string) string {
	for range 10 {
		other, renamed := im.aliases[name]
		if !renamed {
			return name
		}
		name = other
	}
	return name
}

// usedSecrets are the names of the secrets that kstep needs.
func (im *importer) usedSecrets() []string {
	var used []string
	add := func(n *node) {
		for _, item := range many(n) {
			_, source, renamed := strings.Cut(item.text, ":")
			if !renamed {
				source = item.text
			}
			if !slices.Contains(used, source) {
				used = append(used, source)
			}
		}
	}
	var walk func(n *node, key string)
	walk = func(n *node, key string) {
		if n.kind == list && slices.Contains([]string{"secret", "secrets", "password", "username", "key_data"}, key) {
			add(n)
			return
		}
		for _, p := range n.pairs {
			switch p.key {
			case "clear", "args", "options", "labels":
			default:
				walk(p.value, p.key)
			}
		}
	}
	walk(im.out, "")
	if tls := im.out.get("proxy", "tls"); tls != nil {
		add(tls.get("certificate"))
		add(tls.get("private_key"))
	}
	return used
}

// secretCommands translates the secrets file for the secrets that are used.
func (im *importer) secretCommands() {
	for _, l := range im.src.dotenv[im.destination] {
		if im.v1 && l.quote != '\'' && (strings.Contains(l.value, "$(") || strings.Contains(l.value, "`")) {
			im.changed(Other, "secrets."+l.name, l.at, "has a command, which kstep refuses in .env; take the line out")
		}
	}
	for _, name := range im.usedSecrets() {
		l, there := im.secretLineOf(name)
		if !there || im.out.get("secrets", "commands", name) != nil {
			continue
		}
		key := "secrets." + name
		command := l.command()
		switch {
		case l.refersTo() == name:
		case command != "":
			im.secretCommand(key, name, command, l)
		case l.quote != '\'' && strings.Contains(l.value, "$("):
			im.changed(Other, key, l.at, "is text with a command in it, which kstep does not run in .env; write the whole as a command under secrets.commands")
		case l.quote != '\'' && strings.Contains(l.value, "$"):
			im.changed(Other, key, l.at, "is text with variables in it; set %s itself, in the environment or in .env, where those variables have to stand, too", name)
		case !im.v1:
			im.changed(Other, key, l.at, "stands in the file; kstep does not read it: set %s in the environment, or copy the line to .env, which belongs into .gitignore", name)
		}
	}
}

func (im *importer) secretCommand(key, name, command string, l secretLine) {
	all, err := config.Words(command)
	if err == nil && len(all) > 2 && all[0] == "kamal" && all[1] == "secrets" {
		ref, why := im.fetched(all[2:], command)
		if why != "" {
			im.changed(Other, key, l.at, "%s; set %s in the environment, or write a command for it under secrets.commands: %s", why, name, command)
			return
		}
		im.put(words(escape(ref, false), l.at, false), "secrets", "commands", name)
		return
	}
	if strings.Contains(command, "kamal ") || err != nil {
		im.changed(Other, key, l.at, "uses kamal; write a command for %s under secrets.commands: %s", name, command)
		return
	}
	im.put(commandLine(command, l.at), "secrets", "commands", name)
}

// fetch is a `kamal secrets fetch`.
type fetch struct {
	adapter, account, from string
	names                  []string
}

func readFetch(all []string) fetch {
	var f fetch
	for i := 0; i < len(all); i++ {
		name, value, given := strings.Cut(all[i], "=")
		if !strings.HasPrefix(name, "-") {
			f.names = append(f.names, all[i])
			continue
		}
		if !given && i+1 < len(all) {
			i++
			value = all[i]
		}
		switch name {
		case "--adapter", "-a":
			f.adapter = value
		case "--account":
			f.account = value
		case "--from":
			f.from = value
		}
	}
	return f
}

// fetched is the command for one secret of a password manager: `extract NAME
// $FETCHED`, `extract NAME $(kamal secrets fetch …)`, or `fetch … NAME`.
func (im *importer) fetched(all []string, command string) (ref, why string) {
	name := ""
	source := all
	switch {
	case all[0] == "extract" && len(all) >= 2:
		name = all[1]
		inner := ""
		if _, nested, ok := strings.Cut(command, "$("); ok {
			inner = strings.TrimSuffix(strings.TrimSpace(nested), ")")
		} else if len(all) > 2 {
			line, there := im.secretLineOf(strings.Trim(all[2], "${}"))
			if !there {
				return "", "the line that it extracts from is not there"
			}
			inner = line.command()
		}
		source, _ = config.Words(inner)
		if len(source) < 3 || source[0] != "kamal" || source[1] != "secrets" {
			return "", "it is not clear what it extracts from"
		}
		source = source[2:]
	case all[0] != "fetch":
		return "", "kstep has no such command"
	}
	if len(source) == 0 || source[0] != "fetch" {
		return "", "it is not clear what it extracts from"
	}
	f := readFetch(source[1:])
	if f.adapter != "1password" {
		return "", "kstep has no adapter for " + fmt.Sprintf("%q", f.adapter)
	}
	item := name
	for _, n := range f.names {
		if n == name || strings.HasSuffix(n, "/"+name) || name == "" && len(f.names) == 1 {
			item = n
		}
	}
	if item == "" {
		return "", "it fetches several secrets at once"
	}
	if f.from != "" && !strings.HasPrefix(item, f.from+"/") {
		item = f.from + "/" + item
	}
	ref = "op read"
	if f.account != "" {
		ref += " --account " + shellQuote(f.account)
	}
	return ref + " " + shellQuote("op://"+strings.TrimPrefix(item, "op://")), ""
}
