package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/kstep/kstep/internal/config"
	"github.com/kstep/kstep/internal/engine"
	"github.com/kstep/kstep/internal/route"
	"github.com/kstep/kstep/internal/short"
)

// Network is the Docker network of the proxy on every host. Earlier versions of
// kstep had all containers of a host in it; those that they made stay in it until
// they are replaced.
const Network = "kstep"

// ProxyContainer is the name of the proxy's container, one for each host.
const ProxyContainer = "kstep-proxy"

// Names makes every container, file and folder name of one service and
// destination, so that this file is the only place that knows them. A role is
// followed by a sign that no name may hold, or is part of a hash: `web` and
// `web-admin` never share a prefix that matters.
type Names struct {
	Service     string
	Destination string
	// Run is the host's absolute run directory.
	Run string
}

// Base is the service with its destination: `shop-staging`.
func (n Names) Base() string {
	if n.Destination == "" {
		return n.Service
	}
	return n.Service + "-" + n.Destination
}

// Network is the Docker network of the service and destination on every host.
// Containers on it find each other by name and by id, which survives restarts;
// addresses do not. The dot is a sign that no service may hold: service `a-b` and
// service `a` at destination `b` have networks of their own.
func (n Names) Network() string {
	if n.Destination == "" {
		return Network + "-" + n.Service
	}
	return Network + "-" + n.Service + "." + n.Destination
}

// Address is where the host and its proxy reach a container: its address on the
// network that it shares with the proxy, or empty.
func Address(c engine.Container) string { return c.Addresses[Shared(c)] }

// Shared is the network that a container of the service shares with the proxy.
func Shared(c engine.Container) string { return cmp.Or(c.Labels[engine.LabelNetwork], Network) }

// Layers is the file that remembers the layers which the host's engine has pulled without
// a registry.
func (n Names) Layers() string { return path.Join(n.Folder(), "layers.json") }

// Replica is the name of one of a role's containers of one version on a host,
// counted from 1. The first has no number in it. The others' is behind a dot,
// which no role may hold: behind the version it could be one of the version.
func (n Names) Replica(role, version string, number int) string {
	if number > 1 {
		role += "." + strconv.Itoa(number)
	}
	return n.Container(role, version)
}

// Container is the name of a role's first container of one version.
func (n Names) Container(role, version string) string {
	parts := []string{n.Service, role}
	if n.Destination != "" {
		parts = append(parts, n.Destination)
	}
	return strings.Join(append(parts, version), "-")
}

// Task is the name of the container of a version's task.
func (n Names) Task(task, version string) string { return n.Container("task-"+task, version) }

// Accessory is the name of an accessory's container.
func (n Names) Accessory(a config.Accessory) string {
	if a.Service != "" {
		return a.Service
	}
	parts := []string{n.Service, a.Name}
	if n.Destination != "" {
		parts = append(parts, n.Destination)
	}
	return strings.Join(parts, "-")
}

// AccessoryDir holds what accessories have on a host. It is beside the services'
// folders, whose every file may be looked at: a database's belong to others.
func (n Names) AccessoryDir(accessory string) string {
	return path.Join(n.Accessories(), accessory)
}

// Accessories holds the folders of all the service's accessories.
func (n Names) Accessories() string { return path.Join(n.Run, "@accessories", n.Base()) }

// AccessoryFiles is the folder of uploaded files with this fingerprint.
func (n Names) AccessoryFiles(accessory, fingerprint string) string {
	_, sum, _ := strings.Cut(fingerprint, ":")
	return n.AccessoryFilesPrefix(accessory) + sum[:min(12, len(sum))]
}

// AccessoryFilesPrefix is what the paths of all folders of uploaded files begin
// with.
func (n Names) AccessoryFilesPrefix(accessory string) string {
	return path.Join(n.AccessoryDir(accessory), "files") + "@"
}

// AccessoryFolder is a folder of the host that an accessory mounts.
func (n Names) AccessoryFolder(accessory, local string) string {
	if path.IsAbs(local) {
		return path.Clean(local)
	}
	return path.Join(n.AccessoryDir(accessory), "directories", local)
}

// AccessoryRole stands for an accessory where roles are named; no role can be
// called so.
func AccessoryRole(accessory string) string { return accessorySign + accessory }

// AccessoryOf is the accessory that a name of AccessoryRole stands for.
func AccessoryOf(role string) (accessory string, ok bool) {
	return strings.CutPrefix(role, accessorySign)
}

const accessorySign = "@accessory-"

// Replaced is the name an older container makes room under (S14).
func Replaced(name, id string) string { return name + "_replaced_" + short.Of(id) }

// IsRoleName reports whether a text can be the name of a role. Names that come
// from a host are checked before they become part of a path.
func IsRoleName(text string) bool {
	return len(text) <= 128 && roleName.MatchString(text)
}

var roleName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// Folder is the service's folder below the run directory.
func (n Names) Folder() string { return path.Join(n.Run, n.Base()) }

// EnvFile holds a role's environment on one host.
func (n Names) EnvFile(role string) string { return path.Join(n.EnvDir(), role+".json") }

// ProxyRole stands for the proxy where roles are named; no role can be called so.
const ProxyRole = "@proxy"

// EnvDir holds the env files of all roles.
func (n Names) EnvDir() string { return path.Join(n.Folder(), "env") }

// EnvKey is the host's own key for fingerprints of env files. It never leaves
// the host but for the moment of use.
func (n Names) EnvKey() string { return path.Join(n.Run, "fingerprint.key") }

// CordDir is mounted into the container whose spec has this digest.
func (n Names) CordDir(role, version, spec string) string {
	return n.CordPrefix(role) + version + "-" + shortDigest(spec)
}

// Cords holds the cord folders of all roles.
func (n Names) Cords() string { return path.Join(n.Folder(), "cords") }

// CordPrefix is what the paths of all cord folders of a role begin with.
func (n Names) CordPrefix(role string) string { return path.Join(n.Cords(), role) + "@" }

// Assets holds the asset folders of all roles.
func (n Names) Assets() string { return path.Join(n.Folder(), "assets") }

// AssetDir holds the assets of one image of a role. Two images of one version
// (a redeploy of a changed build) have folders of their own.
func (n Names) AssetDir(role, version, configDigest string) string {
	return path.Join(n.Assets(), role) + "@" + version + "-" + shortDigest(configDigest)
}

// Ledger records which release did what on a host.
func (n Names) Ledger() string { return path.Join(n.Folder(), "ledger.json") }

// Lease is the folder of the lease and of those who wait for it, on the lease
// host.
func (n Names) Lease() string { return path.Join(n.Folder(), "lease") }

// Fence is the folder of the highest fencing token a host has seen. It lies in
// the lease's folder, on every host.
func (n Names) Fence() string { return path.Join(n.Lease(), "fence") }

// Verdict is the folder of the barrier's write-once files of a release.
func (n Names) Verdict(release string) string {
	return path.Join(n.Folder(), "barrier", release)
}

// StateDir mirrors the state files, on the lease host: a folder for each release.
func (n Names) StateDir() string { return path.Join(n.Folder(), "state") }

// Fixed are the run directory and the paths below it that every release of the
// service uses, folders before what is in them.
func (n Names) Fixed() []string {
	return []string{
		n.Run, n.EnvKey(), n.ProxyDir(), n.RouteDir(), path.Dir(n.Accessories()), n.Accessories(),
		n.Folder(), n.Ledger(), n.Audit(), n.EnvDir(), n.Cords(), n.Assets(), n.Lease(), n.Fence(),
		path.Dir(n.Verdict("any")), n.StateDir(),
	}
}

// Audit is the log of what happened.
func (n Names) Audit() string { return path.Join(n.Folder(), "audit.jsonl") }

// ProxyKey is the password of the proxy's API. The proxy itself knows its digest.
func (n Names) ProxyKey() string { return path.Join(n.ProxyDir(), "api.key") }

// ProxyDir is the proxy's folder, shared by all services of a host.
func (n Names) ProxyDir() string { return path.Join(n.Run, "proxy") }

// RouteDir is the folder that the proxy watches.
func (n Names) RouteDir() string { return path.Join(n.ProxyDir(), "routes") }

// ACMEDir is where the proxy keeps the certificates that an authority issued, with the
// keys: shared by the services of the host.
func (n Names) ACMEDir() string { return path.Join(n.ProxyDir(), "acme") }

// CertificateFile is where the proxy finds the service's own certificates: in the folder
// that it watches.
func (n Names) CertificateFile() string {
	return path.Join(n.RouteDir(), CertificatePrefix+n.Base()+".yml")
}

// CertificatePrefix begins the names of files with certificates; no role's file begins
// like this.
const CertificatePrefix = "@certificates-"

// RouteFile is the file of a role in the folder that the proxy watches.
func (n Names) RouteFile(role string) string {
	return path.Join(n.RouteDir(), n.Route(role)+".yml")
}

// Route is the name of a role's router and service in the proxy. The digest
// keeps service `a-b` with role `c` apart from service `a` with role `b-c`.
func (n Names) Route(role string) string {
	return RouteOf(route.Owner{Service: n.Service, Destination: n.Destination, Role: role})
}

// CordService is the name of the load balancer that the labels of a role's
// containers make, with the cord switch. Traefik drops a load balancer that two
// containers define differently, so the name changes with what the labels say.
func (n Names) CordService(role string) string { return n.Route(role) + "-cord" }

// RouteOf is Route for any owner.
func RouteOf(o route.Owner) string {
	sum := sha256.Sum256([]byte(o.Service + "\x00" + o.Destination + "\x00" + o.Role))
	return Names{Service: o.Service, Destination: o.Destination}.Base() + "-" + o.Role + "-" + hex.EncodeToString(sum[:3])
}

// CatchAllFile is the proxy's own file in the folder that it watches.
const CatchAllFile = "00-catch-all.yml"

func shortDigest(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if len(digest) > 8 {
		return digest[:8]
	}
	return digest
}
