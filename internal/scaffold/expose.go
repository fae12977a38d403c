package scaffold

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// image is what the last stage of a Dockerfile says about its image.
type image struct {
	ports   []int // TCP, in the order of the file, each once.
	workdir string
	env     map[string]string
}

var (
	continued = regexp.MustCompile(`\\[ \t]*\r?\n`)
	heredoc   = regexp.MustCompile(`<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)
	pair      = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|\S*)`)
	variable  = regexp.MustCompile(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})`)
)

// readDockerfile reads the last stage, with what it inherits from the stage that it is
// based on. Variables have the defaults of ARG and ENV; what has none is ignored.
func readDockerfile(text string) image {
	current := image{env: map[string]string{}}
	global := map[string]string{} // ARGs before the first FROM.
	stages := map[string]image{}
	name, began := "", false
	for _, line := range instructions(text) {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch strings.ToUpper(word) {
		case "FROM":
			if began {
				stages[name] = current
			}
			var base string
			base, name = from(rest)
			current, began = inherit(stages[strings.ToLower(base)]), true
		case "ARG":
			key, value, ok := strings.Cut(rest, "=")
			switch {
			case !began && ok:
				global[key] = unquote(value)
			case ok:
				current.env[key], _ = expand(unquote(value), current.env)
			case global[key] != "":
				current.env[key] = global[key]
			}
		case "ENV":
			current.setEnv(rest)
		case "WORKDIR":
			if dir, ok := expand(unquote(rest), current.env); ok {
				current.setWorkdir(dir)
			}
		case "EXPOSE":
			for field := range strings.FieldsSeq(rest) {
				if text, ok := expand(unquote(field), current.env); ok {
					current.expose(text)
				}
			}
		}
	}
	return current
}

// instructions are the lines without comments, continuations and here-documents.
func instructions(text string) []string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			kept = append(kept, line)
		}
	}
	text = continued.ReplaceAllString(strings.Join(kept, "\n"), " ")
	var out []string
	end := ""
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if end != "" {
			if line == end {
				end = ""
			}
			continue
		}
		if line == "" {
			continue
		}
		word, _, _ := strings.Cut(line, " ")
		if m := heredoc.FindStringSubmatch(line); m != nil && (strings.EqualFold(word, "RUN") || strings.EqualFold(word, "COPY")) {
			end = m[1]
		}
		out = append(out, strings.ReplaceAll(line, "\t", " "))
	}
	return out
}

// from reads the base and the name of `FROM [--platform=…] base [AS name]`.
func from(rest string) (base, name string) {
	var words []string
	for word := range strings.FieldsSeq(rest) {
		if !strings.HasPrefix(word, "--") {
			words = append(words, word)
		}
	}
	if len(words) > 0 {
		base = words[0]
	}
	if len(words) == 3 && strings.EqualFold(words[1], "AS") {
		name = strings.ToLower(words[2])
	}
	return base, name
}

func inherit(base image) image {
	stage := image{ports: append([]int(nil), base.ports...), workdir: base.workdir, env: map[string]string{}}
	maps.Copy(stage.env, base.env)
	return stage
}

func (i *image) setEnv(rest string) {
	if key, value, ok := strings.Cut(rest, " "); ok && !strings.Contains(key, "=") {
		i.env[key], _ = expand(unquote(strings.TrimSpace(value)), i.env) // The old form: ENV key value.
		return
	}
	for _, m := range pair.FindAllStringSubmatch(rest, -1) {
		i.env[m[1]], _ = expand(unquote(m[2]), i.env)
	}
}

func (i *image) setWorkdir(dir string) {
	if !strings.HasPrefix(dir, "/") {
		dir = i.workdir + "/" + dir
	}
	i.workdir = strings.TrimSuffix(dir, "/")
}

// expose adds `port`, `port/tcp`, or the first port of a range.
func (i *image) expose(text string) {
	number, protocol, _ := strings.Cut(strings.ToLower(text), "/")
	number, _, _ = strings.Cut(number, "-")
	port, err := strconv.Atoi(number)
	if err != nil || port < 1 || port > 65535 || (protocol != "" && protocol != "tcp") {
		return
	}
	if !slices.Contains(i.ports, port) {
		i.ports = append(i.ports, port)
	}
}

// port is the one for plain HTTP: the first that is not 443, or the one that ENV PORT
// names. 0 is none.
func (i *image) port() (port int, source string) {
	for _, p := range i.ports {
		if p != 443 {
			return p, "EXPOSE in the Dockerfile"
		}
	}
	if p, err := strconv.Atoi(i.env["PORT"]); err == nil && p > 0 && p <= 65535 {
		return p, "ENV PORT in the Dockerfile"
	}
	return 0, ""
}

// expand fills in variables; ok is false where one has no value.
func expand(text string, env map[string]string) (value string, ok bool) {
	ok = true
	value = variable.ReplaceAllStringFunc(text, func(s string) string {
		m := variable.FindStringSubmatch(s)
		if v := env[m[1]+m[2]]; v != "" {
			return v
		}
		if m[3] == "" {
			ok = false
		}
		return m[3]
	})
	if !ok {
		return "", false
	}
	return value, ok
}

func unquote(s string) string {
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
