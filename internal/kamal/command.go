package kamal

import (
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/config"
)

// shellQuote writes a word for a shell.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return strings.ContainsRune("%+,-./:=@_", r) || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// needsShell reports whether a command line has more than words in it.
func needsShell(command string) bool {
	return strings.ContainsAny(unquoted(command), "|;&<>`$*?~") || strings.ContainsAny(command, "`$")
}

// kstepCommand is kstep's command for one of Kamal's, without the word kstep.
func kstepCommand(line string) (string, bool) {
	all, err := config.Words(line)
	if err != nil || len(all) == 0 {
		return "", false
	}
	first, rest := all[0], all[1:]
	second := ""
	if len(rest) > 0 {
		second = rest[0]
	}
	switch {
	case first == "app" && second == "exec":
		return execCommand("app exec", rest[1:])
	case first == "accessory" && second == "exec" && len(rest) > 1:
		return accessoryExec(rest[1:])
	case first == "app" && second == "logs":
		return withFlags("app logs", rest[1:])
	case first == "accessory" && second == "logs" && len(rest) > 1 && !strings.HasPrefix(rest[1], "-"):
		return withFlags("accessory logs "+shellQuote(rest[1]), rest[2:])
	case first == "accessory" && slices.Contains([]string{"boot", "reboot", "start", "stop", "restart", "details"}, second):
		return withFlags("accessory "+second, rest[1:])
	case first == "app" && slices.Contains([]string{"start", "stop", "details", "containers", "images", "version"}, second):
		return withFlags("app "+second, rest[1:])
	case first == "app" && second == "boot":
		return withFlags("app restart", rest[1:])
	case first == "proxy" && slices.Contains([]string{"reboot", "details", "logs", "start", "stop", "restart", "boot"}, second):
		return withFlags("proxy "+second, rest[1:])
	case first == "lock" && slices.Contains([]string{"status", "acquire", "release"}, second):
		return withFlags("lock "+second, rest[1:])
	case first == "details":
		return withFlags("status", rest)
	case first == "config":
		return withFlags("config show", rest)
	case slices.Contains([]string{"deploy", "redeploy", "rollback", "setup", "audit", "version"}, first):
		return withFlags(first, rest)
	case first == "prune":
		return "prune", true
	}
	return "", false
}

// flagWord is a flag of Kamal's: what kstep calls it, and whether it has a value.
type flagWord struct {
	to    string
	value bool
}

func flagOf(name string) (flagWord, bool) {
	flags := map[string]flagWord{
		"-i": {"-i", false}, "--interactive": {"-i", false},
		"--reuse": {}, "-q": {}, "--quiet": {}, "-v": {}, "--verbose": {}, "-y": {}, "--confirmed": {}, "--raw": {},
		"-p": {"--once", false}, "--primary": {"--once", false},
		"-f": {"-f", false}, "--follow": {"-f", false},
		"-n": {"-n", true}, "--lines": {"-n", true}, "-s": {"--since", true}, "--since": {"--since", true},
		"-g": {"--grep", true}, "--grep": {"--grep", true},
		"-r": {"--roles", true}, "--roles": {"--roles", true}, "-h": {"--hosts", true}, "--hosts": {"--hosts", true},
		"-d": {"-d", true}, "--destination": {"-d", true}, "--rolling": {"--rolling", false},
		"-H": {"--skip-hooks", false}, "--skip-hooks": {"--skip-hooks", false}, "--version": {"", true},
	}
	f, known := flags[name]
	return f, known
}

// takeFlags translates the flags at the front of the words.
func takeFlags(all []string) (flags, rest []string, ok bool) {
	for len(all) > 0 && strings.HasPrefix(all[0], "-") {
		name, value, given := strings.Cut(all[0], "=")
		f, known := flagOf(name)
		all = all[1:]
		switch {
		case !known || given && !f.value:
			return nil, nil, false
		case f.value && !given && len(all) == 0:
			return nil, nil, false
		case f.value && !given:
			value, all = all[0], all[1:]
		}
		switch {
		case f.to == "":
		case f.value:
			flags = append(flags, f.to, shellQuote(value))
		default:
			flags = append(flags, f.to)
		}
	}
	return flags, all, true
}

func withFlags(command string, all []string) (string, bool) {
	for len(all) > 0 {
		flags, rest, ok := takeFlags(all)
		if !ok {
			return "", false
		}
		for _, f := range flags {
			command += " " + f
		}
		if all = rest; len(all) > 0 {
			command += " " + shellQuote(all[0])
			all = all[1:]
		}
	}
	return command, true
}

func execCommand(command string, all []string) (string, bool) {
	flags, rest, ok := takeFlags(all)
	if !ok || len(rest) == 0 {
		return "", false
	}
	// kstep's -i is for one container anyway.
	if slices.Contains(flags, "-i") {
		flags = slices.DeleteFunc(flags, func(f string) bool { return f == "--once" })
	}
	all = slices.Concat([]string{command}, flags, []string{"--", program(rest)})
	return strings.Join(all, " "), true
}

func accessoryExec(all []string) (string, bool) {
	flags, rest, ok := takeFlags(all)
	if !ok || len(rest) < 2 {
		return "", false
	}
	name := rest[0]
	more, rest, ok := takeFlags(rest[1:])
	if !ok || len(rest) == 0 {
		return "", false
	}
	all = slices.Concat([]string{"accessory exec"}, flags, more, []string{shellQuote(name), "--", program(rest)})
	return strings.Join(all, " "), true
}

// program is what runs in the container. Kamal joins the words, and a shell
// reads them.
func program(all []string) string {
	line := strings.Join(all, " ")
	if needsShell(line) {
		return "sh -c " + shellQuote(line)
	}
	return line
}

// commandLine is a command for kstep, which runs it without a shell.
func commandLine(command string, at *node) *node {
	if needsShell(command) {
		return texts(at, "sh", "-c", escape(command, false))
	}
	return words(escape(command, false), at, false)
}
