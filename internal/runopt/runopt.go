// Package runopt is what `docker run` offers for a container beyond what kstep
// decides itself. The comments of the fields are the user's documentation.
package runopt

import (
	"encoding/json"

	"github.com/docker/go-units"
)

// Options are the options of `docker run` that a role may set, under their long
// names. What kstep decides itself, such as the name, or has another key for,
// such as the volumes, is not among them, and an error says why.
type Options struct {
	// AddHost adds lines to /etc/hosts, as `name:address`; the address may be
	// host-gateway.
	AddHost Texts `json:"add-host,omitempty"`
	// Annotation is passed on to the engine's runtime. Engines from 24.0 on
	// (API 1.43) know it.
	Annotation map[string]string `json:"annotation,omitempty"`
	// BlkioWeight is the weight of its block IO, 10 to 1000.
	BlkioWeight uint16 `json:"blkio-weight,omitempty" jsonschema:"minimum=10,maximum=1000"`
	// BlkioWeightDevice is the weight of its IO on single devices, as
	// `/dev/sda:200`, 10 to 1000.
	BlkioWeightDevice Texts `json:"blkio-weight-device,omitempty"`
	// CapAdd adds Linux capabilities.
	CapAdd Texts `json:"cap-add,omitempty"`
	// CapDrop takes Linux capabilities away.
	CapDrop Texts `json:"cap-drop,omitempty"`
	// CgroupParent is the cgroup that the container's is below.
	CgroupParent string `json:"cgroup-parent,omitempty"`
	// Cgroupns is its cgroup namespace: private, or the host's. Engines from
	// 20.10 on (API 1.41) know it.
	Cgroupns string `json:"cgroupns,omitempty" jsonschema:"enum=private,enum=host"`
	// CPUPeriod is the scheduler's period in microseconds.
	CPUPeriod int64 `json:"cpu-period,omitempty" jsonschema:"minimum=1000,maximum=1000000"`
	// CPUQuota is the time in microseconds that it may use in a period.
	CPUQuota int64 `json:"cpu-quota,omitempty" jsonschema:"minimum=1000"`
	// CPURtPeriod is the real-time scheduler's period in microseconds.
	CPURtPeriod int64 `json:"cpu-rt-period,omitempty" jsonschema:"minimum=1,maximum=1000000"`
	// CPURtRuntime is the real-time microseconds that it may use in a period.
	CPURtRuntime int64 `json:"cpu-rt-runtime,omitempty" jsonschema:"minimum=1,maximum=1000000"`
	// CPUShares is the weight of its processor time beside others'.
	CPUShares int64 `json:"cpu-shares,omitempty" jsonschema:"minimum=2,maximum=262144"`
	// CPUs is how many processors' time it may use at most.
	CPUs float64 `json:"cpus,omitempty" jsonschema:"minimum=0.01,maximum=10000"`
	// CpusetCPUs are the processors that it may run on.
	CpusetCPUs string `json:"cpuset-cpus,omitempty"`
	// CpusetMems are the memory nodes that it may use.
	CpusetMems string `json:"cpuset-mems,omitempty"`
	// Device gives it devices of the host, as `/dev/host[:/dev/inside[:rwm]]`.
	Device Texts `json:"device,omitempty"`
	// DeviceCgroupRule adds rules to the list of allowed devices.
	DeviceCgroupRule Texts `json:"device-cgroup-rule,omitempty"`
	// DeviceReadBps limits the bytes a second that it reads from single devices,
	// as `/dev/sda:10mb`.
	DeviceReadBps Texts `json:"device-read-bps,omitempty"`
	// DeviceReadIops limits the reads a second from single devices, as
	// `/dev/sda:1000`.
	DeviceReadIops Texts `json:"device-read-iops,omitempty"`
	// DeviceWriteBps limits the bytes a second that it writes to single devices.
	DeviceWriteBps Texts `json:"device-write-bps,omitempty"`
	// DeviceWriteIops limits the writes a second to single devices.
	DeviceWriteIops Texts `json:"device-write-iops,omitempty"`
	// DNS are the addresses of its DNS servers.
	DNS Texts `json:"dns,omitempty"`
	// DNSOption are options of its DNS resolver.
	DNSOption Texts `json:"dns-option,omitempty"`
	// DNSSearch are the domains that it looks up short names in.
	DNSSearch Texts `json:"dns-search,omitempty"`
	// Domainname is its NIS domain name.
	Domainname string `json:"domainname,omitempty"`
	// Entrypoint replaces the image's.
	Entrypoint Texts `json:"entrypoint,omitempty"`
	// Expose lists ports that it listens on, as `port[/protocol]`.
	Expose Texts `json:"expose,omitempty"`
	// GPUs gives it graphics processors: all, a number, or `device=0,1`.
	GPUs string `json:"gpus,omitempty"`
	// GroupAdd adds groups to its user.
	GroupAdd Texts `json:"group-add,omitempty"`
	// Hostname is its host name inside.
	Hostname string `json:"hostname,omitempty"`
	// Init runs a small init as its first process, which reaps what others
	// leave.
	Init *bool `json:"init,omitempty"`
	// Interactive keeps its standard input open.
	Interactive bool `json:"interactive,omitempty"`
	// IP is its IPv4 address on the service's network, which must have been made
	// with one to choose from: `docker network create --subnet 172.30.0.0/16
	// kstep-shop`, with `.<destination>` behind the service where one is given.
	// Needs `start: after-barrier`, as all that only one container can have.
	IP string `json:"ip,omitempty"`
	// IP6 is its IPv6 address on the service's network, in the same way.
	IP6 string `json:"ip6,omitempty"`
	// IPC is its IPC namespace.
	IPC string `json:"ipc,omitempty"`
	// LinkLocalIP are its link-local addresses. Needs `start: after-barrier`.
	LinkLocalIP Texts `json:"link-local-ip,omitempty"`
	// MacAddress is its hardware address on the service's network. Engines from 25.0
	// on (API 1.44) know it. Needs `start: after-barrier`.
	MacAddress string `json:"mac-address,omitempty"`
	// Memory is the most memory that it may use.
	Memory Size `json:"memory,omitempty"`
	// MemoryReservation is what it is held to when the host is short of memory.
	MemoryReservation Size `json:"memory-reservation,omitempty"`
	// MemorySwap is the most memory and swap together; -1 is without limit.
	MemorySwap Size `json:"memory-swap,omitempty"`
	// MemorySwappiness is how readily its memory is swapped, 0 to 100.
	MemorySwappiness *int64 `json:"memory-swappiness,omitempty" jsonschema:"minimum=0,maximum=100"`
	// NetworkAlias adds names by which others on its networks find it.
	NetworkAlias Texts `json:"network-alias,omitempty"`
	// OOMKillDisable keeps the kernel from killing it for want of memory.
	OOMKillDisable *bool `json:"oom-kill-disable,omitempty"`
	// OOMScoreAdj is how readily it is killed for want of memory.
	OOMScoreAdj int `json:"oom-score-adj,omitempty" jsonschema:"minimum=-1000,maximum=1000"`
	// PID is its process namespace.
	PID string `json:"pid,omitempty"`
	// PidsLimit is how many processes it may have; -1 is without limit.
	PidsLimit *int64 `json:"pids-limit,omitempty" jsonschema:"minimum=-1"`
	// Privileged gives it all the rights of the host's root.
	Privileged bool `json:"privileged,omitempty"`
	// Publish publishes ports on the host, as
	// `[address:][host port:]port[/protocol]`. A host port that is named needs
	// `start: after-barrier`: old and new container cannot both have it.
	Publish Texts `json:"publish,omitempty"`
	// PublishAll publishes every exposed port on a free port of the host.
	PublishAll bool `json:"publish-all,omitempty"`
	// ReadOnly makes its root file system read-only.
	ReadOnly bool `json:"read-only,omitempty"`
	// Restart is what happens when it ends by itself. Default:
	// unless-stopped.
	Restart string `json:"restart,omitempty"`
	// Runtime is the engine's runtime for it.
	Runtime string `json:"runtime,omitempty"`
	// SecurityOpt are security options, such as `no-new-privileges`.
	SecurityOpt Texts `json:"security-opt,omitempty"`
	// ShmSize is the size of its /dev/shm.
	ShmSize Size `json:"shm-size,omitempty"`
	// StorageOpt are options of the engine's storage driver.
	StorageOpt map[string]string `json:"storage-opt,omitempty"`
	// Sysctl sets kernel parameters of its namespaces.
	Sysctl map[string]string `json:"sysctl,omitempty"`
	// Tmpfs mounts file systems in memory, as `/folder[:options]`.
	Tmpfs Texts `json:"tmpfs,omitempty"`
	// TTY gives it a terminal.
	TTY bool `json:"tty,omitempty"`
	// Ulimit sets limits, as `name=soft[:hard]`.
	Ulimit Texts `json:"ulimit,omitempty"`
	// User is the user, and group, that it runs as.
	User string `json:"user,omitempty"`
	// Userns is its user namespace.
	Userns string `json:"userns,omitempty"`
	// UTS is its UTS namespace.
	UTS string `json:"uts,omitempty"`
	// VolumesFrom mounts the volumes of other containers, as `name[:ro]`.
	VolumesFrom Texts `json:"volumes-from,omitempty"`
	// Workdir is the folder that it runs in.
	Workdir string `json:"workdir,omitempty"`
}

// Size is a number of bytes: `512m`, `1.5g`, or a plain number.
type Size int64

// SizePattern is the notation of a Size that is text.
const SizePattern = `^(-1|[0-9]{1,15}(\.[0-9]{1,3})?[ ]?([bB]|[kKmMgGtT]([iI]?[bB])?)?)$`

// UnmarshalJSON reads text or a number.
func (s *Size) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return json.Unmarshal(data, (*int64)(s))
	}
	if text == "-1" {
		*s = -1
		return nil
	}
	n, err := units.RAMInBytes(text)
	*s = Size(n)
	return err
}

// Texts is a list of text; a single one needs no list.
type Texts []string

// UnmarshalJSON reads a text or a list.
func (t *Texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = Texts{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}
