package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"

	"github.com/kstep/kstep/internal/exit"
)

// target is where and how one SSH connection goes, after the host entry,
// ssh_config and the options have been united.
type target struct {
	name           string // As written.
	alias          string // The entry without user and port: what ssh_config matches.
	user           string
	host           string
	port           int
	keyAlias       string // The name to look up in known_hosts instead.
	identities     []string
	identitiesOnly bool
	jumps          []string // The way there; hosts as written.
}

func (t target) address() string { return net.JoinHostPort(t.host, strconv.Itoa(t.port)) }

// known is the name under which known_hosts has the host.
func (t target) known() string {
	if t.keyAlias != "" {
		return net.JoinHostPort(t.keyAlias, "22") // Aliases are listed without a port.
	}
	return t.address()
}

// parseEntry splits `user@host:port`. An IPv6 address with a port is written
// in brackets.
func parseEntry(entry string) (user, host string, port int, err error) {
	rest := entry
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, rest = rest[:at], rest[at+1:]
	}
	host = rest
	if strings.HasPrefix(rest, "[") || strings.Count(rest, ":") == 1 {
		if strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]") {
			return user, strings.Trim(rest, "[]"), 0, nil
		}
		name, number, splitErr := net.SplitHostPort(rest)
		if splitErr != nil {
			return "", "", 0, fmt.Errorf("host %q: want host, user@host or user@host:port", entry)
		}
		port, err = strconv.Atoi(number)
		if err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("host %q: %q is not a port", entry, number)
		}
		host = name
	}
	if host == "" {
		return "", "", 0, fmt.Errorf("host %q has no name", entry)
	}
	return user, host, port, nil
}

// sshConfigs are the parsed ssh_config files, in order.
type sshConfigs []*ssh_config.Config

func readConfigs(opts Options) (sshConfigs, error) {
	var all sshConfigs
	for _, path := range slices.Concat(opts.ConfigFiles, opts.OptionalConfig) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && slices.Contains(opts.OptionalConfig, path) {
			continue
		}
		if err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: %w", err))
		}
		parsed, err := ssh_config.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("ssh.config: read %s: %w", path, err),
				"set ssh.config to a file with only what kstep needs, or to false")
		}
		all = append(all, parsed)
	}
	return all, nil
}

func (c sshConfigs) get(alias, key string) string {
	for _, file := range c {
		if value, err := file.Get(alias, key); err == nil && value != "" {
			return value
		}
	}
	return ""
}

func (c sshConfigs) all(alias, key string) []string {
	var values []string
	for _, file := range c {
		found, err := file.GetAll(alias, key)
		if err == nil {
			values = append(values, found...)
		}
	}
	return values
}

// resolve unites the entry, then ssh_config, then the options. hop tells that
// the target is a jump host itself, to which ssh.proxy_jump does not apply.
func (c sshConfigs) resolve(entry string, opts Options, hop bool) (target, error) {
	user, host, port, err := parseEntry(entry)
	if err != nil {
		return target{}, exit.With(exit.Config, err)
	}
	t := target{
		name: entry, alias: host,
		user:     cmp.Or(user, c.get(host, "User"), opts.User),
		host:     cmp.Or(c.get(host, "HostName"), host),
		keyAlias: c.get(host, "HostKeyAlias"),
	}
	t.host = strings.ReplaceAll(strings.ReplaceAll(t.host, "%h", host), "%%", "%")
	t.port = port
	if t.port == 0 {
		t.port, _ = strconv.Atoi(c.get(host, "Port")) // A bad one falls back.
	}
	t.port = cmp.Or(t.port, opts.Port)
	t.identitiesOnly = strings.EqualFold(c.get(host, "IdentitiesOnly"), "yes")
	for _, file := range c.all(host, "IdentityFile") {
		t.identities = append(t.identities, t.expand(file, opts.Home))
	}
	jump := c.get(host, "ProxyJump")
	if opts.ProxyJump != "" && !hop {
		jump = opts.ProxyJump
	}
	if jump == "" || strings.EqualFold(jump, "none") {
		return t, nil
	}
	for one := range strings.SplitSeq(jump, ",") {
		t.jumps = append(t.jumps, strings.TrimPrefix(strings.TrimSpace(one), "ssh://"))
	}
	return t, nil
}

// expand replaces the tokens that ssh_config(5) allows in IdentityFile.
func (t target) expand(file, home string) string {
	file = expandHome(strings.Trim(file, `"`), home)
	file = strings.NewReplacer("%%", "%", "%d", home, "%h", t.host, "%r", t.user, "%n", t.alias,
		"%p", strconv.Itoa(t.port), "%u", os.Getenv("USER")).Replace(file)
	if !filepath.IsAbs(file) {
		file = filepath.Join(home, file)
	}
	return file
}
