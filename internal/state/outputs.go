package state

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Key names a target in the outputs of the host stages: `role@host`.
func Key(role, host string) string { return role + "@" + host }

// Image is an image by every identity that engines and registries give it:
// the classic engine store names images by config digest, the containerd store
// and registries by manifest digest. Compare on ConfigDigest.
type Image struct {
	// ConfigDigest is the digest of the image's config JSON.
	ConfigDigest string `json:"configDigest"`
	// DiffIDs are the digests of the uncompressed layers, in order.
	DiffIDs []string `json:"diffIds"`
	// Platform is `os/arch[/variant]`.
	Platform string `json:"platform"`
	// Variants are the images for further platforms, if there are any.
	Variants []Variant `json:"variants,omitempty"`
}

// Variant is an image's counterpart for another platform.
type Variant struct {
	ConfigDigest string   `json:"configDigest"`
	DiffIDs      []string `json:"diffIds"`
	Platform     string   `json:"platform"`
}

// Has reports whether a config digest is that of this image on any platform.
func (i Image) Has(configDigest string) bool {
	return i.ConfigDigest == configDigest ||
		slices.ContainsFunc(i.Variants, func(v Variant) bool { return v.ConfigDigest == configDigest })
}

// HasLayers reports whether the layers are those of this image on any platform.
func (i Image) HasLayers(diffIDs []string) bool {
	return slices.Equal(i.DiffIDs, diffIDs) ||
		slices.ContainsFunc(i.Variants, func(v Variant) bool { return slices.Equal(v.DiffIDs, diffIDs) })
}

// Identity is a digest of what the image is on every platform, however its layers are
// compressed: the config's, or of several configs' digests, one line each, theirs.
func (i Image) Identity() string {
	if len(i.Variants) == 0 {
		return i.ConfigDigest
	}
	sum := sha256.New()
	fmt.Fprintln(sum, i.ConfigDigest)
	for _, v := range i.Variants {
		fmt.Fprintln(sum, v.ConfigDigest)
	}
	return fmt.Sprintf("sha256:%x", sum.Sum(nil))
}

// BuildOutputs is what `build` leaves for `push`.
type BuildOutputs struct {
	Image
	// Archive is the docker-format image archive, relative to the state
	// folder. With several platforms it is an OCI layout archive.
	Archive string `json:"archive"`
	// ArchiveFormat is `docker` or `oci`.
	ArchiveFormat string `json:"archiveFormat"`
	ArchiveDigest string `json:"archiveDigest"`
	ArchiveSize   int64  `json:"archiveSize"`
	// Builder is `buildx`, `buildkit` or `legacy`.
	Builder string `json:"builder"`
	// InputsDigest covers everything the image was built from; equal means
	// there is nothing to build.
	InputsDigest string `json:"inputsDigest"`
	// Reference is the name and tag the image has in the local engine.
	Reference string `json:"reference"`
}

// PushOutputs is what `push` leaves for every host stage.
type PushOutputs struct {
	Image
	// Repository is the full name without tag, such as `ghcr.io/acme/shop`.
	Repository string `json:"repository"`
	// Digest is the manifest (or index) digest in the registry; without a registry,
	// the image's own (Image.Identity).
	Digest string `json:"digest"`
	// Direct reports that there is no registry: `assets` brings the image to the
	// hosts through their SSH connections.
	Direct bool `json:"direct,omitempty"`
	// Archive is the image archive to bring, relative to the state folder; only where
	// there is no registry, and not for a rollback.
	Archive string `json:"archive,omitempty"`
	// Tags that point at it: the version, and `latest[-destination]`.
	Tags []string `json:"tags"`
	// Insecure reports that the registry speaks plain HTTP.
	Insecure bool `json:"insecure,omitempty"`
	// Retained marks a rollback: the hosts start the containers again that
	// they retained of the version, as they were, and make nothing new.
	Retained bool `json:"retained,omitempty"`
	// GoesBack marks any rollback: its release runs no tasks.
	GoesBack bool `json:"goesBack,omitempty"`
	// Anew has boot make every container anew, also where an equal one runs.
	Anew bool `json:"anew,omitempty"`
	// Uploaded are the bytes that went over the wire, 0 if all was there.
	Uploaded int64 `json:"uploaded"`
}

// Reference is the image pinned by digest, as hosts pull it. An engine gives a name with
// a digest only to what it has pulled from there, so an image without a registry has a
// tag that is made of its digest.
func (p PushOutputs) Reference() string {
	if p.Direct {
		return p.Repository + ":" + strings.Replace(p.Digest, ":", "-", 1)
	}
	return p.Repository + "@" + p.Digest
}

// directReference is what Reference returns of an image without a registry.
var directReference = regexp.MustCompile(`^(.+):(sha256)-([0-9a-f]{64})$`)

// Referenced is the part of PushOutputs that a Reference has in it.
func Referenced(ref string) PushOutputs {
	if m := directReference.FindStringSubmatch(ref); m != nil {
		return PushOutputs{Repository: m[1], Digest: m[2] + ":" + m[3], Direct: true}
	}
	repository, digest, _ := strings.Cut(ref, "@")
	return PushOutputs{Repository: repository, Digest: digest}
}

// Known reports whether the image is in the registry; a plan may be made
// before.
func (p PushOutputs) Known() bool { return p.Digest != UnknownDigest }

// AssetsOutputs is what `assets` leaves for `boot`, by Key.
type AssetsOutputs struct {
	Targets map[string]AssetsTarget `json:"targets"`
}

// AssetsTarget is one role's assets on one host.
type AssetsTarget struct {
	// Volumes are the folders to mount over the image's asset folders.
	Volumes []AssetVolume `json:"volumes,omitempty"`
}

// AssetVolume is a host folder that holds the assets of the old and the new
// version.
type AssetVolume struct {
	// Path is the folder in the container.
	Path string `json:"path"`
	// HostDir is the absolute folder on the host.
	HostDir string `json:"hostDir"`
}

// EnvPushOutputs is what `env-push` leaves for `boot`, by Key.
type EnvPushOutputs struct {
	Targets map[string]EnvTarget `json:"targets"`
}

// EnvTarget is one role's env file on one host.
type EnvTarget struct {
	// File is the absolute path on the host.
	File string `json:"file"`
	// Fingerprint is an HMAC of the file under a key that never leaves the
	// host, so it shows a change without showing content.
	Fingerprint string `json:"fingerprint"`
	// Names are the variables in it, sorted.
	Names []string `json:"names"`
}

// BootOutputs is what `boot` leaves for `barrier-wait`, by Key.
type BootOutputs struct {
	// Switch is `routes` or `cord`.
	Switch  string                `json:"switch"`
	Targets map[string]BootTarget `json:"targets"`
}

// BootTarget is one role's new containers on one host, started without traffic.
type BootTarget struct {
	// Replicas are the containers, in the order of their numbers.
	Replicas []BootReplica `json:"replicas"`
	// Waiting reports that the containers are created and are started only at
	// cutover (`start: after-barrier`).
	Waiting bool `json:"waiting,omitempty"`
	// Old reports that an earlier release has served on the host.
	Old bool `json:"old,omitempty"`
	// Before is the version that an earlier release put into service for the role
	// on the host; empty if there is none, or if the host does not know it any more.
	// Older versions of kstep did not record it.
	Before string `json:"before,omitempty"`
	// Sick is why the engine refuses to start a container of the primary role,
	// where it does: for the barrier the target will never be ready.
	Sick string `json:"sick,omitempty"`
}

// BootReplica is one new container.
type BootReplica struct {
	// Container is the full id, Name its name, Spec the digest of its
	// specification.
	Container string `json:"container"`
	Name      string `json:"name"`
	Spec      string `json:"spec"`
	// Replaced is the name that an older container of the same name but
	// another spec was given, if there was one.
	Replaced string `json:"replaced,omitempty"`
	// Retained reports, of a rollback, that the container served before.
	Retained bool `json:"retained,omitempty"`
}

// IDs are the full ids of the containers that were made.
func (t BootTarget) IDs() []string {
	var ids []string
	for _, r := range t.Replicas {
		if r.Container != "" {
			ids = append(ids, r.Container)
		}
	}
	return ids
}

// Whole reports whether all containers were made: boot may have failed before.
func (t BootTarget) Whole() bool { return len(t.Replicas) > 0 && len(t.IDs()) == len(t.Replicas) }

// BarrierWaitOutputs is what `barrier-wait` leaves for `cutover`.
type BarrierWaitOutputs struct {
	Verdict Verdict                  `json:"verdict"`
	Targets map[string]BarrierTarget `json:"targets"`
}

// Verdict is the barrier's write-once answer for one release.
type Verdict struct {
	Release string `json:"release"`
	// Open lets the other roles go on.
	Open bool `json:"open"`
	// Ready of Total primary hosts had all their containers ready; Needed were
	// needed.
	Ready  int       `json:"ready"`
	Total  int       `json:"total"`
	Needed int       `json:"needed"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	// Aborted reports that the release was given up, and not counted out.
	Aborted bool `json:"aborted,omitempty"`
}

// BarrierTarget is the readiness of one role's new containers on one host.
type BarrierTarget struct {
	Containers []string `json:"containers"`
	// Ready reports that all of them are.
	Ready bool `json:"ready"`
	// How is `http`, `health`, `cord` or `running`.
	How string `json:"how"`
	// Took is until the last one was ready, in milliseconds.
	Took int64 `json:"tookMs"`
	// Restarts is how often each container had restarted when the wait for it
	// began, by id; those that never had are left out.
	Restarts map[string]int `json:"restarts,omitempty"`
}

// CutoverOutputs is what `cutover` leaves for `prune`, by Key.
type CutoverOutputs struct {
	Targets map[string]CutoverTarget `json:"targets"`
}

// CutoverTarget is one role's move on one host.
type CutoverTarget struct {
	// Containers now serve if Done; Stopped are the ids that served before.
	Containers []string `json:"containers"`
	Done       bool     `json:"done"`
	Stopped    []string `json:"stopped,omitempty"`
	// Restarts is how often each container had restarted when it was found in
	// service, by id.
	Restarts map[string]int `json:"restarts,omitempty"`
	// Switched is when the proxy confirmed the new containers; absent for roles
	// without proxy.
	Switched time.Time `json:"switched,omitzero"`
	// Probe counts the requests kstep itself sent through the proxy meanwhile.
	Probe *Probe `json:"probe,omitempty"`
	// Drain is how the old containers' requests ended before they were stopped;
	// absent if there was nothing to wait for.
	Drain *Drain `json:"drain,omitempty"`
}

// Drain is the wait for requests in flight before containers are stopped.
type Drain struct {
	// WaitedMs is the time between the proxy's confirmation that it sends them
	// no new requests and the request to stop them.
	WaitedMs int64 `json:"waitedMs"`
	// Cut is the number of connections from the proxy that were still open.
	Cut int `json:"cut"`
	// Unobserved is set if connections could not be observed on the host. Then
	// the whole `cutover.drain` was waited, and Cut says nothing.
	Unobserved bool `json:"unobserved,omitempty"`
}

// Probe counts requests sent through the proxy during a cutover.
type Probe struct {
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
	// SlowestMs is the slowest answer in milliseconds.
	SlowestMs int64  `json:"slowestMs"`
	FirstFail string `json:"firstFail,omitempty"`
}

// PruneOutputs is what `prune` removed, by host.
type PruneOutputs struct {
	Hosts map[string]Pruned `json:"hosts"`
}

// Pruned is what was removed on one host.
type Pruned struct {
	Containers []string `json:"containers,omitempty"`
	Images     []string `json:"images,omitempty"`
	Folders    []string `json:"folders,omitempty"`
	Kept       []string `json:"kept,omitempty"` // Versions that can be rolled back to.
	// Previous is the latest of them that served before this release.
	Previous string `json:"previous,omitempty"`
	// Restarts is how often each container in service had restarted, by id.
	Restarts map[string]int `json:"restarts,omitempty"`
}

// AbortOutputs is what `abort` did, by Key.
type AbortOutputs struct {
	// Complete reports that the release served everywhere, so that there was
	// nothing to abort.
	Complete bool                   `json:"complete,omitempty"`
	Targets  map[string]AbortTarget `json:"targets,omitempty"`
}

// AbortTarget is one role's way back on one host.
type AbortTarget struct {
	// Containers serve as before, if there were any; Stopped are the release's.
	Containers []string `json:"containers,omitempty"`
	Stopped    []string `json:"stopped,omitempty"`
	// Restarted reports that an old container had been stopped already.
	Restarted bool `json:"restarted,omitempty"`
	// Drain is how the requests of the release's containers ended before they
	// were stopped; absent if there was nothing to wait for.
	Drain *Drain `json:"drain,omitempty"`
	// Done reports that the old version serves alone here, as far as there is one.
	Done bool `json:"done"`
}
