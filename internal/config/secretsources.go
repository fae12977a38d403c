package config

// SecretSources sets where secrets come from that are neither in the
// environment nor in a dotenv file, and which of them may be empty.
type SecretSources struct {
	// Commands are the programs that print a secret, by its name: a password
	// manager's, say. They run without a shell, on the machine that runs kstep
	// and only when the secret is needed; a line break at the end is dropped.
	// The environment and dotenv files go before them.
	Commands map[string]Command `json:"commands,omitempty"`
	// AllowEmpty are the secrets that may be empty; any other empty one is an
	// error.
	AllowEmpty []string `json:"allow_empty,omitempty"`
}
