package config

import "github.com/kstep/kstep/internal/runopt"

// Servers is the roles by name, in the order of the file.
type Servers struct {
	Roles []Role
}

// Role is one kind of container and the hosts it runs on. Keys that a role
// leaves out are taken from the top level.
type Role struct {
	// Name is the role's key under `servers`.
	Name string `json:"-"`
	// Hosts are the host names or addresses, each alone or with tags:
	// `1.1.1.1`, `1.1.1.2: tag`, `1.1.1.3: [a, b]`. `local` is this machine.
	Hosts []Host `json:"hosts,omitempty"`
	// Replicas is how many containers of this role each host runs. They share
	// the host's traffic, and move as one: all new ones are ready before any
	// old one goes.
	Replicas int `json:"replicas" jsonschema:"default=1,minimum=1"`
	// Cmd replaces the image's command; a string is split like a shell
	// would, without running one.
	Cmd Command `json:"cmd,omitempty"`
	// Proxy routes traffic to this role. Default: only for the primary role.
	Proxy *bool `json:"proxy,omitempty"`
	// Env is added to the top-level environment.
	Env Env `json:"env,omitzero"`
	// Labels are added to the top-level ones.
	Labels map[string]string `json:"labels,omitempty"`
	// Volumes are added to the top-level ones.
	Volumes []string `json:"volumes,omitempty"`
	// Networks are added to the top-level ones.
	Networks []string `json:"networks,omitempty"`
	// Logging replaces the top-level one.
	Logging *Logging `json:"logging,omitempty"`
	// AssetPath replaces the top-level asset paths.
	AssetPath string `json:"asset_path,omitempty"`
	// AssetPaths replace the top-level asset paths; an empty list has none.
	AssetPaths []string `json:"asset_paths,omitzero"`
	// Healthcheck is merged over the top-level one, key by key.
	Healthcheck *Healthcheck `json:"healthcheck,omitempty"`
	// Stop is merged over the top-level one, key by key.
	Stop *Stop `json:"stop,omitempty"`
	// Options are those of `docker run`.
	Options runopt.Options `json:"options,omitzero"`
	// Start `with-boot` starts the new container beside the old one;
	// `after-barrier` starts it at cutover, after the old one stopped, for
	// workers that must not overlap. Not for proxied roles.
	Start string `json:"start" jsonschema:"enum=with-boot,enum=after-barrier,default=with-boot"`
}

// Host is a host of a role and the env tags it carries there.
type Host struct {
	Name string
	Tags []string
}

// Command is an argument vector; a YAML string is split into words.
type Command []string
