package config

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kstep/kstep/internal/runopt"
)

// Accessories are containers beside the application, by name, in the order of
// the file.
type Accessories struct {
	All []Accessory
}

// Accessory is a long-lived container beside the application, such as a
// database, on hosts of its own or on those of roles. No deploy touches it; the
// `kstep accessory` commands do.
type Accessory struct {
	// Name is the accessory's key under `accessories`.
	Name string `json:"-"`
	// Image is the image with its tag or digest, such as `mysql:8.4`. It is pulled
	// with the login of its server, from `registry` or `registries`.
	Image string `json:"image" jsonschema:"required"`
	// Service is the container's name. Default: `<service>-<accessory>`, with
	// `-<destination>` behind it where one is given. The containers of a host
	// reach each other by their names.
	Service string `json:"service,omitempty"`
	// Host is the one host that it runs on.
	Host string `json:"host,omitempty"`
	// Hosts are the hosts that it runs on, each with a container.
	Hosts []string `json:"hosts,omitempty"`
	// Role puts it on the hosts of a role.
	Role string `json:"role,omitempty"`
	// Roles put it on the hosts of several roles.
	Roles []string `json:"roles,omitempty"`
	// Tag puts it on the hosts that carry a tag.
	Tag string `json:"tag,omitempty"`
	// Tags put it on the hosts that carry one of several tags.
	Tags []string `json:"tags,omitempty"`
	// Cmd replaces the image's command; a string is split like a shell would,
	// without running one.
	Cmd Command `json:"cmd,omitempty"`
	// Port is published on the host: a port, which is the same outside and
	// inside, or `[address:]host port:port`. Containers on the same host need
	// none to reach it.
	Port string `json:"port,omitempty"`
	// Env is its environment. The top-level one is not for accessories.
	Env Env `json:"env,omitzero"`
	// Files are uploaded to its hosts and mounted, as `local:remote[:ro]`: a
	// file of this machine, relative to kstep.yml, and its path in the container.
	Files []Mounted `json:"files,omitempty"`
	// Directories are folders of the host that are mounted, as
	// `local:remote[:ro]`. A relative one is made below the run directory; its
	// content stays when the container goes.
	Directories []Mounted `json:"directories,omitempty"`
	// Volumes are mounts in Docker's short form `source:target[:options]`, as the
	// top-level ones.
	Volumes []string `json:"volumes,omitempty"`
	// Networks are Docker networks that it joins besides the service's own, which
	// have to be there. The top-level ones are not for accessories.
	Networks []string `json:"networks,omitempty"`
	// Labels are labels of its container. The top-level ones are not for
	// accessories.
	Labels map[string]string `json:"labels,omitempty"`
	// Logging replaces the top-level one.
	Logging *Logging `json:"logging,omitempty"`
	// Healthcheck sets when it is ready, where the image brings no check.
	Healthcheck *AccessoryHealthcheck `json:"healthcheck,omitempty"`
	// Stop is merged over the top-level one, key by key.
	Stop *Stop `json:"stop,omitempty"`
	// Options are those of `docker run`.
	Options runopt.Options `json:"options,omitzero"`
}

// AccessoryHealthcheck is Docker's own check of an accessory's container; boot
// and reboot wait for it.
type AccessoryHealthcheck struct {
	// Cmd is run in the container; status 0 means ready. A string goes to the
	// image's shell, a list is executed directly.
	Cmd HealthCommand `json:"cmd" jsonschema:"required"`
	// Interval is the time between two checks.
	Interval Duration `json:"interval" jsonschema:"default=2s"`
	// Timeout is how long one check may take.
	Timeout Duration `json:"timeout" jsonschema:"default=5s"`
	// StartPeriod is how long failing checks are not held against a new
	// container.
	StartPeriod Duration `json:"start_period" jsonschema:"default=1m"`
	// Retries is how many failing checks in a row, after the start period, make
	// it unhealthy.
	Retries int `json:"retries" jsonschema:"default=3,minimum=1"`
}

func defaultAccessoryHealthcheck() AccessoryHealthcheck {
	return AccessoryHealthcheck{Interval: Duration(2e9), Timeout: Duration(5e9), StartPeriod: Duration(60e9), Retries: 3}
}

// Mounted is a file or folder that an accessory's container sees.
type Mounted struct {
	// Local is where it comes from.
	Local string `json:"local"`
	// Remote is its absolute path in the container.
	Remote string `json:"remote"`
	// Mode is its permissions, in octal digits.
	Mode string `json:"mode,omitempty"`
	// Owner is the user and group that own it, as numbers.
	Owner string `json:"owner,omitempty"`
	// Options is `ro` for one that the container may not change.
	Options string `json:"options,omitempty"`
}

// ReadOnly reports whether the container may not change it.
func (m Mounted) ReadOnly() bool { return m.Options == "ro" }

// UnmarshalJSON reads `local:remote[:options]`, or a map.
func (m *Mounted) UnmarshalJSON(data []byte) error {
	*m = Mounted{}
	var line string
	if json.Unmarshal(data, &line) != nil {
		type plain Mounted
		err := json.Unmarshal(data, (*plain)(m))
		m.Remote = strings.TrimRight(m.Remote, "/")
		return err
	}
	parts := append(strings.SplitN(line, ":", 3), "", "")
	m.Local, m.Remote, m.Options = parts[0], parts[1], parts[2]
	return nil
}

// IsZero reports whether there are no accessories.
func (a Accessories) IsZero() bool { return len(a.All) == 0 }

// MarshalJSON writes the accessories as an object, in their order.
func (a Accessories) MarshalJSON() ([]byte, error) {
	return appendObject(a.All, func(one Accessory) string { return one.Name })
}

// UnmarshalJSON reads an object of accessories and keeps their order.
func (a *Accessories) UnmarshalJSON(data []byte) error {
	a.All = nil
	return eachEntry(data, func(name string, d *json.Decoder) error {
		var one Accessory
		if err := d.Decode(&one); err != nil {
			return err
		}
		one.Name = name
		a.All = append(a.All, one)
		return nil
	})
}

// UnmarshalJSON decodes over the defaults of those parts that are there.
func (a *Accessory) UnmarshalJSON(data []byte) error {
	var given struct{ Healthcheck, Stop json.RawMessage }
	if err := json.Unmarshal(data, &given); err != nil {
		return err
	}
	type plain Accessory
	var p plain
	if given.Healthcheck != nil {
		p.Healthcheck = new(defaultAccessoryHealthcheck())
	}
	if given.Stop != nil {
		p.Stop = new(defaultStop())
	}
	err := json.Unmarshal(data, &p)
	*a = Accessory(p)
	return err
}

// Accessory finds an accessory by name.
func (c *Config) Accessory(name string) (Accessory, bool) {
	i := slices.IndexFunc(c.Accessories.All, func(a Accessory) bool { return a.Name == name })
	if i < 0 {
		return Accessory{}, false
	}
	return c.Accessories.All[i], true
}

// AccessoryHosts are the hosts of an accessory, each once.
func (c *Config) AccessoryHosts(a Accessory) []string {
	hosts := with(a.Hosts, a.Host)
	roles, tags := with(a.Roles, a.Role), with(a.Tags, a.Tag)
	for _, role := range c.Servers.Roles {
		for _, h := range role.Hosts {
			tagged := slices.ContainsFunc(h.Tags, func(tag string) bool { return slices.Contains(tags, tag) })
			if tagged || slices.Contains(roles, role.Name) {
				hosts = append(hosts, h.Name)
			}
		}
	}
	var each []string
	for _, h := range hosts {
		if !slices.Contains(each, h) {
			each = append(each, h)
		}
	}
	return each
}

// with are the several, or the one.
func with(several []string, one string) []string {
	if one == "" {
		return slices.Clip(several)
	}
	return append(slices.Clip(several), one)
}

// Publish is what of the accessory is published, as an option of `docker run`.
func (a Accessory) Publish() runopt.Texts {
	port := a.Port
	if number, protocol, _ := strings.Cut(port, "/"); port != "" && !strings.Contains(port, ":") {
		port = strings.TrimSuffix(number+":"+number+"/"+protocol, "/")
	}
	if port == "" {
		return a.Options.Publish
	}
	return append(runopt.Texts{port}, a.Options.Publish...)
}

// AccessoryStop is how an accessory is stopped.
func (c *Config) AccessoryStop(a Accessory) Stop { return c.EffectiveStop(Role{Stop: a.Stop}) }

// AccessoryLogging is an accessory's logging.
func (c *Config) AccessoryLogging(a Accessory) Logging {
	return c.EffectiveLogging(Role{Logging: a.Logging})
}

// AllAccessories stands for all of them where commands take a name.
const AllAccessories = "all"
