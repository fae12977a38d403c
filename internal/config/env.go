package config

// Env is environment variables: clear values, and the names of secrets.
// Written flat (`NAME: value`), all are clear.
type Env struct {
	// Clear values are written in the file as they are.
	Clear map[string]string `json:"clear,omitempty"`
	// Secret lists names whose values come from the machine that runs
	// `kstep env-push`; `NAME:SECRET` reads SECRET and sets NAME.
	Secret []string `json:"secret,omitempty"`
	// Tags are environments for hosts that carry the tag. Only at the top
	// level.
	Tags map[string]Env `json:"tags,omitempty"`

	// sources are the texts, from the file, of those clear values that a
	// secret was filled into; they are shown instead of the value.
	sources map[string]string
}

// IsEmpty reports whether there is no variable in it.
func (e Env) IsEmpty() bool { return len(e.Clear)+len(e.Secret) == 0 }
