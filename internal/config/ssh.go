package config

// SSH sets how hosts are reached.
type SSH struct {
	// User logs in, unless ssh_config or the host entry (`user@host`) says
	// otherwise.
	User string `json:"user" jsonschema:"default=root"`
	// Port is where the SSH server listens, unless the host entry (`host:port`) or
	// ssh_config says otherwise.
	Port int `json:"port" jsonschema:"default=22,minimum=1,maximum=65535"`
	// Keys are private key files, tried beside the agent's.
	Keys []string `json:"keys,omitempty"`
	// KeyData are names of secrets that hold private keys, as text or in base64.
	KeyData []string `json:"key_data,omitempty"`
	// Config are ssh_config files to read, instead of ~/.ssh/config and
	// /etc/ssh/ssh_config; `false` reads none. Which keywords count: docs/ssh.md.
	Config SSHConfig `json:"config,omitzero"`
	// ProxyJump is the jump host, `user@host:port`; several by comma. It counts
	// before ProxyJump and ProxyCommand of ssh_config.
	ProxyJump string `json:"proxy_jump,omitempty"`
	// KnownHosts are known_hosts files, or their lines. Default: the text in
	// KSTEP_KNOWN_HOSTS, or the files that ssh_config names, or
	// ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.
	KnownHosts Texts `json:"known_hosts,omitempty"`
	// HostKeys pins host keys: fingerprints (`SHA256:…`) by host.
	HostKeys map[string]string `json:"host_keys,omitempty"`
	// DockerSocket is the engine's socket on the hosts.
	DockerSocket string `json:"docker_socket" jsonschema:"default=/var/run/docker.sock"`
	// Sudo runs `docker system dial-stdio` with `sudo -n` where the user may
	// not open the socket.
	Sudo bool `json:"sudo,omitempty"`
	// ConnectTimeout is how long one connection attempt may take, unless
	// ssh_config has a ConnectTimeout for the host.
	ConnectTimeout Duration `json:"connect_timeout" jsonschema:"default=10s"`
	// ConnectRetries is how many more attempts follow a failed one, unless
	// ssh_config has ConnectionAttempts for the host.
	ConnectRetries int `json:"connect_retries" jsonschema:"default=2,minimum=0"`
	// MaxDials is how many connections are opened at once.
	MaxDials int `json:"max_dials" jsonschema:"default=30,minimum=1"`
}

// SSHConfig is which ssh_config files are read.
type SSHConfig struct {
	Disabled bool
	Files    []string
}
