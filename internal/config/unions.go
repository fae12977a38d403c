package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// What may be written in several ways, as JSON. Only forms that the schema
// admits arrive here.

// MarshalJSON writes the value, or a list with the secret's name.
func (v SecretOrValue) MarshalJSON() ([]byte, error) {
	if v.Secret != "" {
		return json.Marshal([]string{v.Secret})
	}
	return json.Marshal(v.Value)
}

// UnmarshalJSON reads a value, or a list with one secret's name.
func (v *SecretOrValue) UnmarshalJSON(data []byte) error {
	names, isText, err := textOrList(data)
	if err != nil {
		return err
	}
	*v = SecretOrValue{}
	switch {
	case isText:
		v.Value = names[0]
	case len(names) == 1:
		v.Secret = names[0]
	default:
		return errors.New("must name one secret")
	}
	return nil
}

// MarshalJSON writes the roles as an object, in their order.
func (s Servers) MarshalJSON() ([]byte, error) {
	return appendObject(s.Roles, func(r Role) string { return r.Name })
}

// UnmarshalJSON reads an object of roles and keeps their order.
func (s *Servers) UnmarshalJSON(data []byte) error {
	s.Roles = nil
	return eachEntry(data, func(name string, d *json.Decoder) error {
		var role Role
		if err := d.Decode(&role); err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
		role.Name = name
		s.Roles = append(s.Roles, role)
		return nil
	})
}

// appendObject writes an object whose keys are the names of all, in order.
func appendObject[T any](all []T, name func(T) string) ([]byte, error) {
	b := []byte{'{'}
	for i, one := range all {
		if i > 0 {
			b = append(b, ',')
		}
		data, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		b = append(append(appendString(b, name(one)), ':'), data...)
	}
	return append(b, '}'), nil
}

// eachEntry reads an object in order; read decodes the value of the key.
func eachEntry(data []byte, read func(key string, d *json.Decoder) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := read(fmt.Sprint(key), d); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalJSON decodes over the defaults of those parts that are there.
func (r *Role) UnmarshalJSON(data []byte) error {
	var given struct{ Healthcheck, Stop json.RawMessage }
	if err := json.Unmarshal(data, &given); err != nil {
		return err
	}
	type plain Role
	p := plain{Start: defaultStart, Replicas: defaultReplicas}
	if given.Healthcheck != nil {
		p.Healthcheck = new(defaultHealthcheck())
	}
	if given.Stop != nil {
		p.Stop = new(defaultStop())
	}
	err := json.Unmarshal(data, &p)
	*r = Role(p)
	return err
}

// MarshalJSON writes the name, or an object of name to tags.
func (h Host) MarshalJSON() ([]byte, error) {
	if len(h.Tags) == 0 {
		return json.Marshal(h.Name)
	}
	return json.Marshal(map[string][]string{h.Name: h.Tags})
}

// UnmarshalJSON reads a name, or an object of name to one tag or several.
func (h *Host) UnmarshalJSON(data []byte) error {
	*h = Host{}
	if json.Unmarshal(data, &h.Name) == nil {
		return nil
	}
	var entry map[string]json.RawMessage
	if err := json.Unmarshal(data, &entry); err != nil {
		return err
	}
	for name, tags := range entry {
		h.Name = name
		var err error
		if h.Tags, _, err = textOrList(tags); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON writes no value that a secret was filled into, but the text
// from the file that names it.
func (e Env) MarshalJSON() ([]byte, error) {
	type plain Env
	p := plain(e)
	if len(e.sources) > 0 {
		p.Clear = maps.Clone(e.Clear)
		maps.Copy(p.Clear, e.sources)
	}
	return json.Marshal(p)
}

// UnmarshalJSON reads words, or a line that is split into words.
func (c *Command) UnmarshalJSON(data []byte) error {
	all, isText, err := textOrList(data)
	if err == nil && isText {
		all, err = Words(all[0])
	}
	*c = all
	return err
}

// MarshalJSON writes a text for the shell, a list to be executed.
func (c HealthCommand) MarshalJSON() ([]byte, error) {
	if c.Shell != "" {
		return json.Marshal(c.Shell)
	}
	return json.Marshal(c.Exec)
}

// UnmarshalJSON reads a text for the shell, or a list to be executed.
func (c *HealthCommand) UnmarshalJSON(data []byte) error {
	all, isText, err := textOrList(data)
	*c = HealthCommand{Exec: all}
	if err == nil && isText {
		*c = HealthCommand{Shell: all[0]}
	}
	return err
}

// MarshalJSON writes false, or the files.
func (c SSHConfig) MarshalJSON() ([]byte, error) {
	if c.Disabled {
		return []byte("false"), nil
	}
	return json.Marshal(c.Files)
}

// UnmarshalJSON reads false, a file or several.
func (c *SSHConfig) UnmarshalJSON(data []byte) error {
	if string(data) == "false" {
		*c = SSHConfig{Disabled: true}
		return nil
	}
	files, _, err := textOrList(data)
	*c = SSHConfig{Files: files}
	return err
}

// Texts is a list of text; a single one needs no list.
type Texts []string

// UnmarshalJSON reads a text or a list.
func (t *Texts) UnmarshalJSON(data []byte) error {
	all, _, err := textOrList(data)
	*t = all
	return err
}

// textOrList reads a list; a text is a list of one.
func textOrList(data []byte) (all []string, isText bool, err error) {
	var one string
	if json.Unmarshal(data, &one) == nil {
		return []string{one}, true, nil
	}
	err = json.Unmarshal(data, &all)
	return all, false, err
}
