// Package config is what the user wants: the types of kstep.yml, its loading,
// merging, interpolation and validation. It decides nothing about containers
// or hosts; package plan does.
//
// The comments of the fields below are the user's documentation: they end up
// in schema/config.schema.json, in editors and in docs/config.md. The json
// names are the keys of the file: YAML is read into a tree of positioned nodes,
// checked, and only then decoded as JSON, so that every complaint can name a
// line. A field with a default is never omitted when written, so that an
// explicit zero survives.
package config

import "github.com/kstep/kstep/internal/runopt"

// Config is a whole kstep.yml, merged with its destination file, interpolated,
// validated and with every default filled in. Load moves EnvTags into Env.Tags.
type Config struct {
	// Service names the application. It is the first part of every container,
	// image label, lease and folder name kstep makes on a host.
	Service string `json:"service" jsonschema:"required"`
	// Image is the repository to push to and pull from, without registry
	// server and tag, such as `acme/shop`. Without it, there is no registry: the
	// image goes from the machine that runs kstep to the hosts, through their SSH
	// connections.
	Image string `json:"image,omitempty"`
	// Registry is where images are pushed and pulled.
	Registry Registry `json:"registry,omitzero"`
	// Registries are the logins of further servers, for accessories, the proxy's
	// image and `push --image`: a list, or a map by server. Each image is pulled
	// with the login of its own server, and with no other.
	Registries Registries `json:"registries,omitempty"`
	// Servers are the hosts: a plain list is the role `web`, a map has one
	// entry for each role.
	Servers Servers `json:"servers" jsonschema:"required"`
	// PrimaryRole is the role whose health opens the barrier.
	PrimaryRole string `json:"primary_role" jsonschema:"default=web"`

	// Env is the environment of every container.
	Env Env `json:"env,omitzero"`
	// EnvTags are environments for hosts that carry the tag; the same as
	// `env.tags`.
	EnvTags map[string]Env `json:"env_tags,omitempty"`
	// Secrets sets where the values of secrets come from.
	Secrets SecretSources `json:"secrets,omitzero"`
	// State is about the files that the stages leave for each other.
	State State `json:"state,omitzero"`

	// AssetPath is a folder in the image whose files must stay available
	// while old and new containers run side by side.
	AssetPath string `json:"asset_path,omitempty"`
	// AssetPaths are several such folders.
	AssetPaths []string `json:"asset_paths,omitempty"`

	// Assets are rules for single asset paths.
	Assets map[string]AssetRule `json:"assets,omitempty"`

	// Healthcheck sets when a container is ready for traffic.
	Healthcheck Healthcheck `json:"healthcheck"`
	// Stop sets how a container is stopped.
	Stop Stop `json:"stop"`
	// Logging is Docker's log driver and its options for every container.
	Logging Logging `json:"logging,omitzero"`
	// Labels are extra labels for every container. Those that begin with `traefik.`
	// are refused, except middlewares: routes are kstep's.
	Labels map[string]string `json:"labels,omitempty"`
	// Volumes are extra mounts for every container, in Docker's short form
	// `source:target[:options]`. Options, several by comma: `ro`, `rw`; `z`, `Z`
	// (SELinux); `nocopy` for a named volume; for a folder of the host `shared`,
	// `slave`, `private`, `rshared`, `rslave`, `rprivate`, and `cached`,
	// `delegated`, `consistent`. A folder of the host has to be there; with `z` or
	// `Z` the engine makes a missing one, which belongs to root.
	Volumes []string `json:"volumes,omitempty"`
	// Networks are Docker networks that every container joins besides the service's
	// own, `kstep-<service>` with `.<destination>` behind it where one is given. They
	// have to be there: `docker network create backend`. The containers of a network
	// reach each other by name, so this is how services share a database. They may be
	// those of other services of kstep's, too, and `kstep`, which all services
	// shared before they had networks of their own.
	Networks []string `json:"networks,omitempty"`

	// Accessories are containers beside the application that no deploy touches,
	// such as databases and caches, by name.
	Accessories Accessories `json:"accessories,omitzero"`

	// Tasks are commands that run once in a release, such as database
	// migrations, by name and in the order of the file.
	Tasks Tasks `json:"tasks,omitzero"`

	// Barrier holds the other roles back until the primary role is ready.
	Barrier Barrier `json:"barrier"`
	// Cutover sets how traffic moves to the new containers.
	Cutover Cutover `json:"cutover"`
	// Orphans says what a deploy does with containers of roles that were renamed,
	// removed, or taken off a host that is still listed: `stop` stops them after
	// the new containers have the traffic and keeps them for a rollback; `warn`
	// leaves them running and prints a warning. Where a new role takes over the
	// same traffic, the old role's route is removed with both.
	Orphans string `json:"orphans" jsonschema:"enum=stop,enum=warn,default=stop"`
	// Boot sets how many hosts start new containers at once.
	Boot Rolling `json:"boot,omitzero"`
	// Proxy is the Traefik that kstep runs on the hosts of proxied roles.
	Proxy Proxy `json:"proxy"`

	// Builder sets how the image is built.
	Builder Builder `json:"builder,omitzero"`

	// Aliases are commands of your own, by name: with `console` for `app exec -i --
	// bin/rails console`, kstep has a command `console`. What follows the name is
	// appended. `kstep --help` lists them.
	Aliases map[string]Command `json:"aliases,omitempty"`

	// HooksPath is the folder with hook scripts.
	HooksPath string `json:"hooks_path" jsonschema:"default=.kstep/hooks"`
	// HookTimeout ends a hook that hangs.
	HookTimeout Duration `json:"hook_timeout" jsonschema:"default=15m"`
	// RunDirectory is the folder that kstep keeps on every host; a relative
	// one is below the SSH user's home.
	RunDirectory string `json:"run_directory" jsonschema:"default=.kstep"`
	// Retain is how many versions each role and destination keeps for rollback,
	// the live one included: those that served last. Versions that were rolled
	// back go first. The version that served before the live one stays in any
	// case, so 1 keeps it, too.
	Retain int `json:"retain" jsonschema:"default=5,minimum=1"`
	// RetainSize bounds the images of retained versions on each host, besides
	// their number: those that served longest ago go first. The live version and
	// the one before it stay in any case. Layers that images share count for each of them.
	RetainSize runopt.Size `json:"retain_size,omitempty"`
	// Lease keeps two releases from touching the hosts at once.
	Lease Lease `json:"lease"`
	// SSH sets how hosts are reached.
	SSH SSH `json:"ssh"`

	// Bootstrap sets how `kstep server bootstrap` gives a host its engine.
	Bootstrap Bootstrap `json:"bootstrap,omitzero"`

	// MinimumVersion is the oldest kstep that may work with this file.
	MinimumVersion string `json:"minimum_version,omitempty"`
	// RequireDestination refuses to run without `-d`.
	RequireDestination bool `json:"require_destination,omitempty"`
	// AllowEmptyRoles accepts roles without hosts.
	AllowEmptyRoles bool `json:"allow_empty_roles,omitempty"`

	// Destination is the name given with -d, or empty. Not a key.
	Destination string `json:"-"`
	// LeaseHost is the host with the lease, if it is not the first one of the
	// primary role. Not a key.
	LeaseHost string `json:"-"`
	// Path is the main file this was loaded from. Not a key.
	Path string `json:"-"`
	// Variables are the places outside of environments where variables are
	// filled in. Not a key.
	Variables []VariableUse `json:"-"`
	// Entries are the places where a host is named. Not a key.
	Entries []HostEntry `json:"-"`
}

// AssetRule sets what old and new version see of the files in an asset path.
type AssetRule struct {
	// OnConflict is whose version of a file both see that is in both images
	// with different content, such as a manifest: `new` or `old`. By default
	// each sees its own.
	OnConflict string `json:"on_conflict,omitempty" jsonschema:"enum=new,enum=old"`
	// Writable lets the containers write into the asset path, which they can
	// only read otherwise. They then get copies of the other version's files,
	// through the machine that runs kstep: see docs/assets.md.
	Writable bool `json:"writable,omitempty"`
}

// Registry is an image registry and the names of its credentials.
type Registry struct {
	// Server is the registry's host and port; empty means Docker Hub.
	Server string `json:"server,omitempty"`
	// Username is the name to log in with, or a list with the name of the
	// secret that holds it.
	Username SecretOrValue `json:"username,omitzero"`
	// Password is a list with the name of the secret that holds it.
	Password []string `json:"password,omitempty" jsonschema:"maxItems=1"`
	// Insecure allows plain HTTP. Without it kstep sends nothing over plain HTTP,
	// also not to localhost or a private address. The hosts' engines must list the server
	// under `insecure-registries` too.
	Insecure bool `json:"insecure,omitempty"`
}

// SecretOrValue is a plain value, or the name of the secret that holds it
// (written as a list of one name).
type SecretOrValue struct {
	Value  string
	Secret string
}

// State is about the state files and plans.
type State struct {
	// Key is a list with the name of a secret. With it, kstep seals each state file
	// and plan that it writes, by an HMAC, and refuses those that are not sealed: who
	// can write artifacts, but does not have the secret, cannot change what is
	// deployed. All jobs need the secret. It must have at least 32 characters.
	Key []string `json:"key,omitempty" jsonschema:"maxItems=1"`
}
