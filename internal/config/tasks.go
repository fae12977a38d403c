package config

import (
	"encoding/json"
	"slices"
)

// Tasks are a release's tasks by name, in the order of the file, which is the
// order they run in.
type Tasks struct {
	All []Task
}

// Task is a command that runs once in a release, in a container of its own: the
// new image with the environment, volumes, logging and options of a role.
type Task struct {
	// Name is the task's key under `tasks`.
	Name string `json:"-"`
	// Cmd is the command; a string is split like a shell would, without
	// running one.
	Cmd Command `json:"cmd" jsonschema:"required"`
	// Run `before-boot` runs it before any new container starts, and nothing
	// starts if it fails; `after-cutover` runs it once the new version serves
	// on all hosts.
	Run string `json:"run" jsonschema:"enum=before-boot,enum=after-cutover,default=before-boot"`
	// Role is the role whose environment, volumes, logging and options the
	// task gets. Default: the primary role.
	Role string `json:"role,omitempty"`
	// Host is the one host that it runs on. Default: the role's first one.
	Host string `json:"host,omitempty"`
	// Timeout stops a task that takes too long.
	Timeout Duration `json:"timeout" jsonschema:"default=15m"`
}

// The moments at which tasks run.
const (
	BeforeBoot   = "before-boot"
	AfterCutover = "after-cutover"
)

const defaultTaskTimeout = Duration(15 * 60e9)

// IsZero reports whether there are no tasks.
func (t Tasks) IsZero() bool { return len(t.All) == 0 }

// TaskPlace is the role that a task is run as, and its host.
func (c *Config) TaskPlace(t Task) (role, host string) {
	role, host = t.Role, t.Host
	if role == "" {
		role = c.PrimaryRole
	}
	if r, _ := c.Role(role); host == "" && len(r.Hosts) > 0 {
		host = r.Hosts[0].Name
	}
	return role, host
}

// MarshalJSON writes the tasks as an object, in their order.
func (t Tasks) MarshalJSON() ([]byte, error) {
	return appendObject(t.All, func(t Task) string { return t.Name })
}

// UnmarshalJSON reads an object of tasks and keeps their order.
func (t *Tasks) UnmarshalJSON(data []byte) error {
	t.All = nil
	return eachEntry(data, func(name string, d *json.Decoder) error {
		task := Task{Run: BeforeBoot, Timeout: defaultTaskTimeout}
		if err := d.Decode(&task); err != nil {
			return err
		}
		task.Name = name
		t.All = append(t.All, task)
		return nil
	})
}

func (c *checker) tasks() {
	roles := make([]string, len(c.cfg.Servers.Roles))
	for i, r := range c.cfg.Servers.Roles {
		roles[i] = r.Name
	}
	for _, t := range c.cfg.Tasks.All {
		below := func(key string) []string { return []string{"tasks", t.Name, key} }
		c.positive(below("timeout"), t.Timeout)
		if slices.Contains(roles, "task-"+t.Name) {
			c.atKey([]string{"tasks", t.Name}, "its containers would have the names of those of the role %q; rename one", "task-"+t.Name)
		}
		name, host := c.cfg.TaskPlace(t)
		role, ok := c.cfg.Role(name)
		if c.isBroken("servers") {
			continue
		}
		switch known := hostNames(role); {
		case !ok && t.Role != "":
			c.at(below("role"), "%s", c.unknown(below("role"), "role", name, roles))
		case ok && len(known) == 0:
			c.atKey([]string{"tasks", t.Name}, "the role %q has no host to run it on", name)
		case ok && !slices.Contains(known, host):
			c.at(below("host"), "%s", c.unknown(below("host"), "host of role "+name, host, known))
		}
	}
}

func hostNames(r Role) []string {
	names := make([]string, len(r.Hosts))
	for i, h := range r.Hosts {
		names[i] = h.Name
	}
	return names
}
