// Package engine is a Docker engine as kstep needs it: some twenty typed
// operations over the Engine API. It is the only package that imports the
// moby client, keeps the table of what an API version can do (the client does
// not guard fields), and decides nothing.
package engine

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kstep/kstep/internal/runopt"
)

// Errors that callers test for. They are wrapped with the request and the host
// of the engine.
var (
	ErrNotFound       = errors.New("not found")
	ErrConflict       = errors.New("conflict") // The name is taken, or the state forbids it.
	ErrUnauthorized   = errors.New("the registry refused the credentials")
	ErrRegistry       = errors.New("the registry did not answer")
	ErrPortTaken      = errors.New("port is already taken")
	ErrDiskFull       = errors.New("no space left on the host")
	ErrNoFolder       = errors.New("a mounted folder is not on the host")
	ErrNetworkMissing = errors.New("network is not on the host")
	ErrNoNetwork      = errors.New("no free network on the host")
	ErrPlatform       = errors.New("image is for another platform")
	ErrUnreachable    = errors.New("the engine did not answer")
)

// Labels that kstep puts on everything it makes.
const (
	LabelService     = "kstep.service"
	LabelRole        = "kstep.role"
	LabelDestination = "kstep.destination"
	LabelVersion     = "kstep.version"
	LabelRelease     = "kstep.release"
	LabelSpec        = "kstep.spec"
	LabelReplica     = "kstep.replica"   // 1 for the first of a role's containers on a host.
	LabelRun         = "kstep.run"       // The run directory that it was made from.
	LabelTask        = "kstep.task"      // On a release's tasks, which have no role.
	LabelProxy       = "kstep.proxy"     // On the proxy's container only.
	LabelScheme      = "kstep.scheme"    // How the proxy connects; only on those it connects to by other than http.
	LabelSettings    = "kstep.settings"  // What kstep.yml says of it, a digest for each key.
	LabelRestart     = "kstep.restart"   // The restart policy that the container was created with.
	LabelNetwork     = "kstep.network"   // The network in which the proxy reaches it; containers of earlier versions have none.
	LabelProxyAPI    = "kstep.proxy.api" // On the proxy's container only: the password of its API.
)

// Labels on accessories' containers. They have none of those of the service, so
// that nothing that looks for the application finds them.
const (
	LabelAccessory            = "kstep.accessory"
	LabelAccessoryService     = "kstep.accessory.service"
	LabelAccessoryDestination = "kstep.accessory.destination"
	LabelAccessoryParts       = "kstep.accessory.parts" // What it was made from, part by part.
)

// Spec is a wanted container. Two specs with equal fields are the same
// container; its digest is the LabelSpec label.
type Spec struct {
	Name     string            `json:"name"`
	Image    string            `json:"image"` // Reference by digest, or by tag for the proxy.
	Cmd      []string          `json:"cmd,omitempty"`
	Env      map[string]string `json:"-"` // Values may be secret: part of the digest by fingerprint only.
	Labels   map[string]string `json:"labels,omitempty"`
	Hostname string            `json:"hostname,omitempty"`
	Mounts   []Mount           `json:"mounts,omitempty"`
	Ports    []Port            `json:"ports,omitempty"`
	Network  string            `json:"network,omitempty"`
	// Networks are further ones, which have to be there, with the same aliases.
	Networks []string `json:"networks,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
	Restart  string   `json:"restart,omitempty"` // Restart policy name, such as `unless-stopped`.
	Health   *Health  `json:"health,omitempty"`
	Stop     Stop     `json:"stop,omitzero"`
	Log      Log      `json:"log,omitzero"`
	// Options stand over the fields above.
	Options runopt.Options `json:"options,omitzero"`
	// EnvFingerprint stands for Env in the digest.
	EnvFingerprint string `json:"envFingerprint,omitempty"`
}

// Mount is a host folder or file, or a named volume, in the container.
type Mount struct {
	Source   string `json:"source"` // Absolute host path, or a volume's name.
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`

	// The fields below are requested, not observed.

	// Relabel is z or Z, SELinux's label.
	Relabel string `json:"relabel,omitempty"`
	// NoCopy leaves a new volume empty.
	NoCopy bool `json:"noCopy,omitempty"`
	// Propagation and Consistency are those of a host folder.
	Propagation string `json:"propagation,omitempty"`
	Consistency string `json:"consistency,omitempty"`
}

// Port publishes a container port on the host.
type Port struct {
	Host      int `json:"host"`
	Container int `json:"container"`
	// Address is the host's address that it is opened on; empty means all.
	Address string `json:"address,omitempty"`
	// UDP is set for a port of UDP; otherwise it is one of TCP.
	UDP bool `json:"udp,omitempty"`
}

// Health is a Docker health check. Exactly one of Shell and Exec is set.
type Health struct {
	Shell       string        `json:"shell,omitempty"`
	Exec        []string      `json:"exec,omitempty"`
	Interval    time.Duration `json:"interval"`
	Timeout     time.Duration `json:"timeout"`
	StartPeriod time.Duration `json:"startPeriod,omitempty"`
	Retries     int           `json:"retries"`
}

// Stop is how a container is stopped.
type Stop struct {
	Signal  string        `json:"signal,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Log is a log driver.
type Log struct {
	Driver  string            `json:"driver,omitempty"`
	Options map[string]string `json:"options,omitempty"`
}

// Container is an observed container.
type Container struct {
	ID      string
	Name    string // Without the leading slash.
	Image   string // As given at creation.
	ImageID string
	Labels  map[string]string
	// State is `created`, `running`, `restarting`, `exited`, `paused`, `dead`.
	State string
	// Health is `starting`, `healthy`, `unhealthy`, or empty without a check.
	Health    string
	HealthLog []string // Outputs of the last checks, oldest first; Inspect only.
	ExitCode  int
	OOMKilled bool
	Restarts  int
	Error     string // Why it could not start.
	Pid       int
	Env       []string // `NAME=value`, may hold secrets; Inspect only.
	Cmd       []string // Inspect only.
	// Exposed are the ports that the image or the spec names, such as
	// `3000/tcp`, sorted; Inspect only.
	Exposed []string
	// Published are the host ports that the container publishes, sorted; Inspect,
	// and List of those that run.
	Published []Port
	// Addresses by network name; Inspect and List.
	Addresses map[string]string
	// Networks are the names of the networks that it is in, sorted, also of one that
	// does not run; Inspect and List.
	Networks []string
	// Aliases are its further names by network, without its ID; Inspect only.
	Aliases map[string][]string
	// IPs are all its addresses on all networks, IPv4 and IPv6; Inspect and List.
	IPs      []netip.Addr
	Mounts   []Mount
	Created  time.Time
	Started  time.Time
	Finished time.Time
	// Restart is the restart policy, such as `no` or `on-failure:3`; Inspect
	// only, empty means that it is not known.
	Restart string
}

// Outside are those of the networks that the container is not in.
func (c Container) Outside(networks []string) []string {
	return slices.DeleteFunc(slices.Clone(networks), func(name string) bool { return slices.Contains(c.Networks, name) })
}

// Running reports whether the container's process runs now.
func (c Container) Running() bool { return c.State == "running" }

// Up reports whether the container runs, restarts or is paused.
func (c Container) Up() bool {
	return c.Running() || c.State == "restarting" || c.State == "paused"
}

// Image is an observed image.
type Image struct {
	ID      string // Config digest (classic store) or manifest digest (containerd store).
	Tags    []string
	Digests []string // repository@digest.
	DiffIDs []string // Image only.
	Labels  map[string]string
	Size    int64
	Created time.Time
	// Platform is `os/arch[/variant]`; Image only.
	Platform string
	// Health reports whether the image brings a HEALTHCHECK; Image only.
	Health bool
	// ConfigDigest is the digest of the image's config. The engine returns it with
	// the classic store, not with the containerd store, whose images are compared
	// by DiffIDs.
	ConfigDigest string
}

// Info is what an engine says about itself.
type Info struct {
	ID         string // Of the engine: the same after a restart, and on machines cloned from one image.
	Version    string // Of the engine, such as `20.10.24`.
	APIVersion string // Negotiated: what requests are made with.
	Name       string // The host name the engine sees.
	Root       string // The folder of the host that has images and containers; empty if it reports none.
	Storage    string // Storage driver, such as `overlay2`.
	// OS and Architecture are those of the machine, as its kernel names them:
	// `linux` and `x86_64`.
	OS, Architecture string
	// Containerd reports whether images live in containerd's store, where an image
	// ID is a manifest digest instead of a config digest.
	Containerd bool
	// Insecure are the registries the engine speaks plain HTTP to.
	Insecure []string
	// Now is its clock, by which containers were started; zero if it reports none.
	Now time.Time
}

// Network is an observed network.
type Network struct {
	ID      string
	Name    string
	Labels  map[string]string
	Created time.Time
}

// Extract copies folders out of an image without running anything in it.
type Extract struct {
	Image  string
	Name   string // Of the container that exists meanwhile.
	Labels map[string]string
	// Folders are existing, empty host folders by the folder in the image
	// that each is filled from.
	Folders map[string]string
}

// Event is a change of a container's state.
type Event struct {
	Container string
	Name      string
	Action    string // `start`, `die`, `health_status: healthy`, …
	Time      time.Time
}

// Auth is a registry login that travels with one pull and is not stored.
type Auth struct {
	Username string
	Password string
	Server   string
}

// Filter selects containers, images or events; empty fields select all.
type Filter struct {
	Labels  map[string]string // All must be there with these values, empty ones too.
	Labeled []string          // All must be there, with any value.
	All     bool              // Containers that do not run, too.
	IDs     []string          // Any of these containers.
	Names   []string          // Any of these container names, exactly.
	// Reference selects images by repository and tag, with wildcards.
	Reference string
	// Dangling selects images without a tag.
	Dangling bool
}

// Tagged reports whether the image has the tag. Engines leave out Docker Hub's
// name: `docker.io/library/redis:7` is `redis:7` to them.
func (i Image) Tagged(ref string) bool {
	return slices.ContainsFunc(i.Tags, func(tag string) bool { return familiar(tag) == familiar(ref) })
}

// Named reports whether the image has the name, be it a tag or a digest.
func (i Image) Named(ref string) bool {
	return i.Tagged(ref) || slices.ContainsFunc(i.Digests, func(d string) bool { return familiar(d) == familiar(ref) })
}

func familiar(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
}

// With are the containers that have all these labels.
func With(all []Container, labels map[string]string) []Container {
	return slices.DeleteFunc(slices.Clone(all), func(c Container) bool {
		for name, value := range labels {
			if have, ok := c.Labels[name]; !ok || have != value {
				return true
			}
		}
		return false
	})
}

// IDs are the ids of containers.
func IDs(all []Container) []string {
	ids := make([]string, len(all))
	for i, c := range all {
		ids[i] = c.ID
	}
	return ids
}

// NamesOf are the names of containers, for people.
func NamesOf(all []Container) string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}
