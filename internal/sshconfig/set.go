package sshconfig

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is what the files say for one keyword.
type Value struct {
	Keyword string // As in ssh_config(5).
	// Args are the arguments as they are written; of a command there is one.
	Args []string
	// Expanded are the arguments with `~`, tokens and variables replaced,
	// where the keyword allows that.
	Expanded []string
	File     string
	Line     int
	// System is a value from the machine's own file.
	System bool
}

// Where is the place of the value, such as `~/.ssh/config:3`.
func (v Value) Where() string { return fmt.Sprintf("%s:%d", v.File, v.Line) }

// set takes the value of one line that counts, unless there is one already.
func (e *evaluation) set(s source, l line) error {
	k, known := e.c.keywords[l.keyword]
	if !known {
		e.unknown(s, l)
		return nil
	}
	args, err := k.parse(l.rest)
	if err != nil {
		return s.fail(l, "%s: %w", k.name, err)
	}
	if k.form == duration && args[0] == "none" {
		return nil // As in OpenSSH, a later line may still set one.
	}
	if k.form == refuse {
		return s.fail(l, "RefuseConnection: %s", args[0])
	}
	if k.form == command && !isNone(args[0]) {
		if err := s.mayRun(l, k.name); err != nil {
			return err
		}
	}
	v := Value{Keyword: k.name, Args: args, File: s.path, Line: l.number, System: s.system}
	key := strings.ToLower(k.name)
	have, there := e.values[key]
	switch {
	case k.form == many && there:
		if !slices.Contains(have.Args, args[0]) {
			have.Args = append(slices.Clone(have.Args), args[0])
			e.values[key] = have
		}
	case there:
	case k.form == jump || key == "proxycommand":
		e.setProxy(key, v)
	default:
		e.values[key] = v
	}
	return nil
}

// setProxy keeps the first of ProxyJump and ProxyCommand. `ProxyJump none`
// leaves room for a command.
func (e *evaluation) setProxy(key string, v Value) {
	_, hasCommand := e.values["proxycommand"]
	if key == "proxyjump" && !isNone(v.Args[0]) {
		if hasCommand {
			return
		}
		e.values["proxycommand"] = Value{Keyword: "ProxyCommand", Args: []string{"none"}, File: v.File, Line: v.Line, System: v.System}
	}
	e.values[key] = v
}

func isNone(s string) bool { return strings.EqualFold(s, "none") }

// unknown warns of a keyword that OpenSSH would refuse.
func (e *evaluation) unknown(s source, l line) {
	if e.c.ignored[l.keyword] {
		return
	}
	if v, ok := e.values["ignoreunknown"]; ok && matchList(l.keyword, strings.ToLower(v.Args[0])) {
		return
	}
	e.warn(s, l, "unknown keyword %q has no effect", l.keyword)
}

// parse checks and splits what stands after the keyword.
func (k keyword) parse(rest string) ([]string, error) {
	if rest == "" {
		return nil, errors.New("the value is missing")
	}
	switch k.form {
	case command:
		return []string{strings.TrimLeft(rest, space+"=")}, nil
	case jump:
		return parseJump(rest)
	}
	args, err := splitArguments(rest)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 || slices.Contains(args, "") {
		return nil, errors.New("the value is empty")
	}
	if k.form == words {
		if len(args) > 1 && slices.ContainsFunc(args, isNone) {
			return nil, errors.New("none stands alone")
		}
		return args, nil
	}
	if len(args) > 1 {
		return nil, fmt.Errorf("%q follows after the value", args[1])
	}
	arg, err := k.check(args[0])
	return []string{arg}, err
}

// check holds one argument against the keyword's form.
func (k keyword) check(arg string) (string, error) {
	switch k.form {
	case port:
		if n, err := net.LookupPort("tcp", arg); err == nil && n > 0 {
			return strconv.Itoa(n), nil
		}
		return "", fmt.Errorf("%q is not a port", arg)
	case number:
		if _, err := strconv.Atoi(arg); err != nil {
			return "", fmt.Errorf("%q is not a whole number", arg)
		}
	case duration:
		if _, ok := parseTime(arg); !ok {
			return "", fmt.Errorf("%q is not a time such as 10 or 1m30s", arg)
		}
	case choice:
		lower := strings.ToLower(arg)
		switch lower {
		case "true":
			lower = "yes"
		case "false":
			lower = "no"
		}
		if !slices.Contains(k.choices, lower) {
			return "", fmt.Errorf("%q is none of %s", arg, strings.Join(k.choices, ", "))
		}
		return lower, nil
	}
	return arg, nil
}

// parseJump splits the list of a ProxyJump and leaves its comment out.
func parseJump(rest string) ([]string, error) {
	rest = strings.TrimLeft(rest, space+"=")
	rest, _, _ = strings.Cut(rest, "#")
	rest = strings.TrimRight(rest, space)
	if isNone(rest) {
		return []string{"none"}, nil
	}
	var hosts []string
	for host := range strings.SplitSeq(rest, ",") {
		if host == "" || strings.ContainsAny(host, space) {
			return nil, fmt.Errorf("%q is not a list of hosts between commas", rest)
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}

// parseTime reads a time as OpenSSH writes it: numbers with the units s, m, h,
// d and w. `none` is zero.
func parseTime(s string) (time.Duration, bool) {
	if s == "none" {
		return 0, true
	}
	units := map[byte]time.Duration{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
	var total time.Duration
	for rest := s; rest != ""; {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		unit := time.Duration(1)
		digits := rest
		switch {
		case end == 0:
			return 0, false
		case end < 0:
			rest = ""
		default:
			digits = rest[:end]
			if unit = units[rest[end]|0x20]; unit == 0 {
				return 0, false
			}
			rest = rest[end+1:]
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if total += time.Duration(n) * unit; err != nil || total > 1<<31-1 {
			return 0, false
		}
	}
	return total * time.Second, s != ""
}
