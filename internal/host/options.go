package host

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/exit"
)

// Options say how hosts are reached. OptionsFrom makes them from a config.
type Options struct {
	User string // Unless the host entry or ssh_config says otherwise.
	Port int
	// Keys are private key files that must be there; DefaultKeys are tried if
	// they are.
	Keys        []string
	DefaultKeys []string
	KeyData     []KeyData
	AgentSocket string
	// ConfigFiles are ssh_config files, the first match wins; OptionalConfig
	// may be missing. SystemConfig are those of the machine.
	ConfigFiles    []string
	OptionalConfig []string
	SystemConfig   []string
	ProxyJump      string
	// KnownHosts count alone if there are any. Else the usual files count, of
	// which any may be missing and in place of which ssh_config may name others.
	KnownHosts       []KnownHosts
	UserKnownHosts   []string
	GlobalKnownHosts []string
	HostKeys         map[string]string // Pinned fingerprints by host.
	DockerSocket     string
	Sudo             bool
	ConnectTimeout   time.Duration
	ConnectRetries   int
	MaxDials         int
	// Once is for commands that only read: a host's first connection error is
	// final, and a connection that gets no answer in time is not tried again.
	Once bool
	Home string // This machine's home folder, for `~` and `local`.

	// RetryPause is the pause before the first new attempt to connect; it
	// doubles.
	RetryPause time.Duration
	// Patience is how long a host may take to answer what it answers at once: an
	// operation of Files, or a question to its engine.
	Patience time.Duration
	// Keepalive is the time between two questions whether the host is there.
	Keepalive time.Duration
	// EngineTransport forces one way to the engine: EngineSocket or
	// EngineStdio. Empty finds out.
	EngineTransport string
	// FilesTransport forces one way to the files: FilesSFTP or FilesShell. Empty takes a
	// shell where the host is far and has one, and SFTP for the rest.
	FilesTransport string
	// Env looks up a variable of this machine's environment. Nil is the
	// process's own.
	Env func(name string) (string, bool)
	// Warn takes what ssh_config says and kstep does not follow. Nil drops it.
	Warn func(Warning)
	// Observed gets each container with its environment before anything that it
	// has written is passed on (engine.Options.Observed). Nil drops it.
	Observed func(engine.Container)
	// Intercept stands around every remote operation. Nil stands nowhere.
	Intercept Intercept
}

// Ways to reach a host's engine.
const (
	EngineSocket = "socket" // The socket, forwarded.
	EngineStdio  = "stdio"  // `docker system dial-stdio` in a session.
)

// KeyData is a private key that is not in a file. Name is what errors say.
type KeyData struct{ Name, PEM string }

// KnownHosts is a known_hosts text. Name is what errors say: a path, or where
// the text was given.
type KnownHosts struct {
	Name string
	Text string
	// Strict refuses lines that cannot be read; files pass over them, like
	// OpenSSH does.
	Strict bool
}

func (o Options) lookup(name string) (string, bool) {
	if o.Env == nil {
		return os.LookupEnv(name)
	}
	return o.Env(name)
}

// OptionsFrom makes options from the config. secret looks up the value of a
// secret, env that of an environment variable.
func OptionsFrom(cfg config.SSH, secret func(name string) (string, error), env func(string) string) (Options, error) {
	home := env("HOME")
	if home == "" {
		home, _ = os.UserHomeDir() // Only for defaults that may be missing.
	}
	opts := Options{
		User:           cmp.Or(cfg.User, "root"),
		Port:           cmp.Or(cfg.Port, 22),
		ProxyJump:      cfg.ProxyJump,
		HostKeys:       cfg.HostKeys,
		DockerSocket:   cmp.Or(cfg.DockerSocket, "/var/run/docker.sock"),
		Sudo:           cfg.Sudo,
		ConnectTimeout: cmp.Or(cfg.ConnectTimeout.D(), 10*time.Second),
		ConnectRetries: cfg.ConnectRetries,
		MaxDials:       cmp.Or(cfg.MaxDials, 30),
		AgentSocket:    env("SSH_AUTH_SOCK"),
		Home:           home,
	}
	for _, key := range cfg.Keys {
		opts.Keys = append(opts.Keys, expandHome(key, home))
	}
	if len(cfg.Keys) == 0 && len(cfg.KeyData) == 0 {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			opts.DefaultKeys = append(opts.DefaultKeys, filepath.Join(home, ".ssh", name))
		}
	}
	for _, name := range cfg.KeyData {
		value, err := secret(name)
		if err != nil {
			return Options{}, fmt.Errorf("ssh.key_data: %w", err)
		}
		opts.KeyData = append(opts.KeyData, KeyData{Name: name, PEM: value})
	}
	switch {
	case cfg.Config.Disabled:
	case len(cfg.Config.Files) > 0:
		for _, file := range cfg.Config.Files {
			opts.ConfigFiles = append(opts.ConfigFiles, expandHome(file, home))
		}
	default:
		opts.OptionalConfig = []string{filepath.Join(home, ".ssh", "config")}
		opts.SystemConfig = []string{"/etc/ssh/ssh_config"}
	}
	known, err := knownHostsFrom(cfg.KnownHosts, env("KSTEP_KNOWN_HOSTS"), home)
	if opts.KnownHosts = known; len(known) == 0 {
		opts.UserKnownHosts = []string{filepath.Join(home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts2")}
		opts.GlobalKnownHosts = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	return opts, err
}

// knownHostsFrom reads what the config names, and the environment's text.
func knownHostsFrom(given []string, text, home string) ([]KnownHosts, error) {
	var all []KnownHosts
	for i, one := range given {
		if strings.ContainsAny(strings.TrimSpace(one), " \t\n") {
			all = append(all, KnownHosts{Name: fmt.Sprintf("ssh.known_hosts[%d]", i), Text: one, Strict: true})
			continue
		}
		path := expandHome(one, home)
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, exit.With(exit.Config, fmt.Errorf("ssh.known_hosts: %w", err))
		}
		all = append(all, KnownHosts{Name: path, Text: string(data)})
	}
	if isPath(text) {
		return nil, exit.With(exit.Config, errors.New("KSTEP_KNOWN_HOSTS holds the path of a file and not known_hosts lines"),
			"in GitLab, choose the type Variable and not File for it; or name the file in ssh.known_hosts")
	}
	if !strings.Contains(strings.TrimSpace(text), "\n") {
		text = strings.ReplaceAll(text, `\n`, "\n") // As a CI system's settings may have made of them.
	}
	if text != "" {
		all = append(all, KnownHosts{Name: "KSTEP_KNOWN_HOSTS", Text: text, Strict: true})
	}
	return all, nil
}

func expandHome(path, home string) string {
	if path == "~" {
		return home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return path
}
