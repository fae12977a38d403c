package config

// A part that says nothing is left out when it is written, however it was
// spelled: `env: {}`, `env_tags: {}` and no env at all are the same.

// IsZero reports whether there is no variable and no tag.
func (e Env) IsZero() bool { return len(e.Clear)+len(e.Secret)+len(e.Tags) == 0 }

// IsZero reports whether the engine's own logging is left alone.
func (l Logging) IsZero() bool { return l.Driver == "" && len(l.Options) == 0 }

// IsZero reports whether nothing is set for the registry.
func (r Registry) IsZero() bool {
	return r.Server == "" && r.Username == SecretOrValue{} && len(r.Password) == 0 && !r.Insecure
}

// IsZero reports whether there is no cache.
func (c Cache) IsZero() bool { return len(c.From)+len(c.To) == 0 }

// IsZero reports whether the files have no key.
func (s State) IsZero() bool { return len(s.Key) == 0 }
