package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/exit"
	"github.com/kstep/kstep/internal/sshconfig"
)

// target is where and how one SSH connection goes, after the host entry,
// ssh_config and the options have been united.
type target struct {
	name     string // As written.
	alias    string // The entry without user and port: what ssh_config matches.
	user     string
	host     string
	port     int
	keyAlias string // The name to look up in known_hosts instead.

	identities     []string
	certificates   []string
	identitiesOnly bool
	agent          string // The agent's socket; empty without one.

	jumps   []string // The way there; hosts as written.
	command string   // The program that makes the connection, or empty.

	timeout  time.Duration // For one attempt.
	retries  int
	alive    time.Duration // Between two questions whether the host is there.
	patience time.Duration // How long it may take to answer one.

	settings *sshconfig.Settings
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

// checkNames refuses what could be part of a command line instead of a name:
// ssh_config may hand both to programs.
func checkNames(entry, user, host string) error {
	bad := func(s, more string) bool {
		return strings.HasPrefix(s, "-") || strings.ContainsFunc(s, func(r rune) bool {
			return r < ' ' || r == 0x7f || strings.ContainsRune("'`\";&<>|(){}"+more, r)
		})
	}
	if bad(host, "$\\, \t") {
		return fmt.Errorf("host %q: the host name has characters that no host name has", entry)
	}
	if bad(user, "") {
		return fmt.Errorf("host %q: the user has characters that no user name has", entry)
	}
	return nil
}

// configsOf are the ssh_config files of the options.
func configsOf(opts Options) *sshconfig.Config {
	return configsOn(opts, sshconfig.ThisMachine(opts.Home, opts.lookup))
}

func configsOn(opts Options, machine sshconfig.Machine) *sshconfig.Config {
	var files []sshconfig.File
	for _, path := range opts.ConfigFiles {
		files = append(files, sshconfig.File{Path: path})
	}
	for _, path := range opts.OptionalConfig {
		files = append(files, sshconfig.File{Path: path, Optional: true, Private: true})
	}
	for _, path := range opts.SystemConfig {
		files = append(files, sshconfig.File{Path: path, Optional: true, System: true})
	}
	return sshconfig.New(files, machine)
}

// resolve unites the entry, then ssh_config, then the options. hop is set if
// the target is a jump host itself, to which ssh.proxy_jump does not apply.
func (d *dialer) resolve(ctx context.Context, entry string, hop bool) (target, error) {
	user, host, port, err := parseEntry(entry)
	if err == nil {
		err = checkNames(entry, user, host)
	}
	if err != nil {
		return target{}, exit.With(exit.Config, err)
	}
	s, err := d.configs.Resolve(ctx, sshconfig.Destination{
		Host: host, User: user, Port: port, DefaultUser: d.opts.User, DefaultPort: d.opts.Port,
	})
	if err != nil {
		return target{}, configError(ctx, err)
	}
	t := target{
		name: entry, alias: host, settings: s, user: s.User, host: s.Host, port: s.Port,
		keyAlias: s.Text("hostkeyalias"), identitiesOnly: s.Text("identitiesonly") == "yes",
		agent: d.opts.AgentSocket,
	}
	t.identities, _ = s.List("identityfile")
	t.certificates, _ = s.List("certificatefile")
	if v, ok := s.Value("identityagent"); ok {
		if t.agent = v.Expanded[0]; strings.EqualFold(t.agent, "none") {
			t.agent = ""
		}
	}
	d.patienceOf(&t)
	t.jumps, _ = s.List("proxyjump")
	if list, _ := s.List("proxycommand"); len(list) > 0 {
		t.command = list[0]
	}
	if d.opts.ProxyJump != "" && !hop {
		t.jumps, t.command = strings.Split(d.opts.ProxyJump, ","), ""
		if strings.EqualFold(d.opts.ProxyJump, "none") {
			t.jumps = nil
		}
	}
	for i, jump := range t.jumps {
		t.jumps[i] = strings.TrimPrefix(strings.TrimSpace(jump), "ssh://")
	}
	return t, d.review(t)
}

// patienceOf sets how long and how often is tried and waited.
func (d *dialer) patienceOf(t *target) {
	s := t.settings
	t.timeout, t.retries = d.opts.ConnectTimeout, d.opts.ConnectRetries
	t.alive, t.patience = d.opts.Keepalive, d.opts.Keepalive
	if limit := s.Duration("connecttimeout"); limit > 0 {
		t.timeout = limit
	}
	if n, given := s.Number("connectionattempts"); given && n > 0 {
		t.retries = n - 1
	}
	if every := s.Duration("serveraliveinterval"); every > 0 {
		count, given := s.Number("serveralivecountmax")
		if !given || count < 1 {
			count = 3
		}
		t.alive, t.patience = every, every*time.Duration(count)
	}
}

// configError makes an error of the configuration out of one of its files.
func configError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	hints := []string{"set ssh.config to a file with only what kstep needs, or to false"}
	if wrong, ok := errors.AsType[*sshconfig.Error](err); ok && wrong.Hint != "" {
		hints = []string{wrong.Hint}
	}
	return exit.With(exit.Config, fmt.Errorf("ssh.config: %w", err), hints...)
}
