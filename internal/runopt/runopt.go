// Package runopt is what `docker run` offers for a container beyond what kstep
// decides itself. The comments of the fields are the user's documentation.
package runopt

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
)

// Options are the options of `docker run` that a role may set, under their long
// names. What kstep decides itself (name, network, environment, health check),
// or has a key of its own for (labels, volumes, logging, stop), is not among
// them.
type Options struct {
	// AddHost adds lines to /etc/hosts, as `name:address`; the address may be
	// host-gateway.
	AddHost Texts `json:"add-host,omitempty"`
	// BlkioWeight is the weight of its block IO, 10 to 1000.
	BlkioWeight uint16 `json:"blkio-weight,omitempty" jsonschema:"minimum=10,maximum=1000"`
	// CapAdd adds Linux capabilities.
	CapAdd Texts `json:"cap-add,omitempty"`
	// CapDrop takes Linux capabilities away.
	CapDrop Texts `json:"cap-drop,omitempty"`
	// CgroupParent is the cgroup that the container's is below.
	CgroupParent string `json:"cgroup-parent,omitempty"`
	// CPUPeriod is the scheduler's period in microseconds.
	CPUPeriod int64 `json:"cpu-period,omitempty" jsonschema:"minimum=1000,maximum=1000000"`
	// CPUQuota is the time in microseconds that it may use in a period.
	CPUQuota int64 `json:"cpu-quota,omitempty" jsonschema:"minimum=1000"`
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
	// Expose tells ports that it listens on, as `port[/protocol]`.
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
	// IPC is its IPC namespace.
	IPC string `json:"ipc,omitempty"`
	// Memory is the most memory that it may use.
	Memory Size `json:"memory,omitempty"`
	// MemoryReservation is what it is held to when the host is short of memory.
	MemoryReservation Size `json:"memory-reservation,omitempty"`
	// MemorySwap is the most memory and swap together; -1 is without limit.
	MemorySwap Size `json:"memory-swap,omitempty"`
	// MemorySwappiness is how readily its memory is swapped, 0 to 100.
	MemorySwappiness *int64 `json:"memory-swappiness,omitempty" jsonschema:"minimum=0,maximum=100"`
	// NetworkAlias adds names by which others on kstep's network find it.
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

// Alone are the options for a container that nobody reaches: those of a
// server are left out, and its restart policy.
func (o Options) Alone() Options {
	o.Expose, o.Publish, o.NetworkAlias, o.Hostname, o.Restart = nil, nil, nil, "", ""
	return o
}

// Problem is what is wrong with an option; Index is the entry of a list.
type Problem struct {
	Key     string
	Index   int
	Message string
}

// Check tells what the engine would refuse as malformed.
func (o Options) Check() []Problem {
	var all []Problem
	each := func(key string, list Texts, form string, parse func(string) error) {
		for i, text := range list {
			if parse(text) != nil {
				all = append(all, Problem{key, i, "must be " + form})
			}
		}
	}
	each("ulimit", o.Ulimit, "name=soft or name=soft:hard, such as nofile=65536", func(s string) error { _, err := units.ParseUlimit(s); return err })
	each("publish", o.Publish, "[address:][host port:]port[/protocol], such as 8080:80", func(s string) error { _, err := nat.ParsePortSpec(s); return err })
	each("expose", o.Expose, "port[/protocol], such as 9090/tcp", func(s string) error { _, err := nat.ParsePortSpec(s); return err })
	each("dns", o.DNS, "an address, such as 192.0.2.53", func(s string) error { _, err := netip.ParseAddr(s); return err })
	each("device", o.Device, "/dev/host[:/dev/inside[:rwm]]", func(s string) error {
		parts := strings.Split(s, ":")
		if len(parts) > 3 || slices.ContainsFunc(parts[:min(2, len(parts))], func(p string) bool { return !strings.HasPrefix(p, "/") }) ||
			len(parts) == 3 && strings.Trim(parts[2], "rwm") != "" {
			return errForm
		}
		return nil
	})
	each("tmpfs", o.Tmpfs, "/folder or /folder:options", func(s string) error {
		if !strings.HasPrefix(s, "/") {
			return errForm
		}
		return nil
	})
	each("add-host", o.AddHost, "name:address, such as db:192.0.2.5", func(s string) error {
		if name, address, ok := strings.Cut(s, ":"); !ok || name == "" || address == "" {
			return errForm
		}
		return nil
	})
	return all
}

var errForm = errors.New("malformed")

// FixedPort tells whether a host port is named among those to publish, which
// only one container can have.
func (o Options) FixedPort() (index int, fixed bool) {
	index = slices.IndexFunc(o.Publish, func(s string) bool {
		ports, err := nat.ParsePortSpec(s)
		return err == nil && slices.ContainsFunc(ports, func(p nat.PortMapping) bool { return p.Binding.HostPort != "" })
	})
	return index, index >= 0
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
