package engine

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/kstep/kstep/internal/runopt"
)

// apply translates options, which have been checked, and leaves alone what none
// is given for.
func apply(o runopt.Options, config *container.Config, host *container.HostConfig) {
	config.Domainname, config.User, config.WorkingDir = o.Domainname, o.User, o.Workdir
	config.Entrypoint, config.Tty, config.OpenStdin = o.Entrypoint, o.TTY, o.Interactive
	if o.Hostname != "" {
		config.Hostname = o.Hostname
	}
	host.ExtraHosts, host.CapAdd, host.CapDrop = o.AddHost, o.CapAdd, o.CapDrop
	host.DNSOptions, host.DNSSearch, host.GroupAdd = o.DNSOption, o.DNSSearch, o.GroupAdd
	host.Init, host.IpcMode, host.PidMode = o.Init, container.IpcMode(o.IPC), container.PidMode(o.PID)
	host.UTSMode, host.UsernsMode = container.UTSMode(o.UTS), container.UsernsMode(o.Userns)
	host.OomScoreAdj, host.Privileged, host.ReadonlyRootfs = o.OOMScoreAdj, o.Privileged, o.ReadOnly
	host.Runtime, host.SecurityOpt, host.ShmSize = o.Runtime, o.SecurityOpt, int64(o.ShmSize)
	host.StorageOpt, host.Sysctls, host.VolumesFrom = o.StorageOpt, o.Sysctl, o.VolumesFrom
	for _, text := range o.DNS {
		if addr, err := netip.ParseAddr(text); err == nil {
			host.DNS = append(host.DNS, addr)
		}
	}
	for _, text := range o.Tmpfs {
		if host.Tmpfs == nil {
			host.Tmpfs = map[string]string{}
		}
		folder, options, _ := strings.Cut(text, ":")
		host.Tmpfs[folder] = options
	}
	if o.Restart != "" {
		name, retries, _ := strings.Cut(o.Restart, ":")
		n, _ := strconv.Atoi(retries) // None is no limit.
		host.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyMode(name), MaximumRetryCount: n}
	}
	host.Resources = resources(o)
	publish(o, config, host)
}

func resources(o runopt.Options) container.Resources {
	r := container.Resources{
		BlkioWeight: o.BlkioWeight, CgroupParent: o.CgroupParent,
		CPUPeriod: o.CPUPeriod, CPUQuota: o.CPUQuota, CPUShares: o.CPUShares,
		NanoCPUs: int64(math.Round(o.CPUs * 1e9)), CpusetCpus: o.CpusetCPUs, CpusetMems: o.CpusetMems,
		DeviceCgroupRules: o.DeviceCgroupRule,
		Memory:            int64(o.Memory), MemoryReservation: int64(o.MemoryReservation), MemorySwap: int64(o.MemorySwap),
		MemorySwappiness: o.MemorySwappiness, OomKillDisable: o.OOMKillDisable, PidsLimit: o.PidsLimit,
	}
	for _, text := range o.Device {
		parts := append(strings.Split(text, ":"), "", "")
		d := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[1], CgroupPermissions: parts[2]}
		if d.PathInContainer == "" {
			d.PathInContainer = d.PathOnHost
		}
		if d.CgroupPermissions == "" {
			d.CgroupPermissions = "rwm"
		}
		r.Devices = append(r.Devices, d)
	}
	for _, text := range o.Ulimit {
		if limit, err := units.ParseUlimit(text); err == nil {
			r.Ulimits = append(r.Ulimits, limit)
		}
	}
	if o.GPUs != "" {
		r.DeviceRequests = []container.DeviceRequest{gpus(o.GPUs)}
	}
	return r
}

func gpus(text string) container.DeviceRequest {
	request := container.DeviceRequest{Capabilities: [][]string{{"gpu"}}}
	devices, named := strings.CutPrefix(text, "device=")
	n, err := strconv.Atoi(text)
	switch {
	case named:
		request.DeviceIDs = strings.Split(devices, ",")
	case err == nil:
		request.Count = n
	default:
		request.Count = -1 // All.
	}
	return request
}

// publish adds the ports to those that the spec has.
func publish(o runopt.Options, config *container.Config, host *container.HostConfig) {
	add := func(text string, bind bool) {
		mappings, err := nat.ParsePortSpec(text)
		if err != nil {
			return
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				continue
			}
			if config.ExposedPorts == nil {
				config.ExposedPorts = network.PortSet{}
			}
			config.ExposedPorts[port] = struct{}{}
			if !bind {
				continue
			}
			if host.PortBindings == nil {
				host.PortBindings = network.PortMap{}
			}
			binding := network.PortBinding{HostPort: m.Binding.HostPort}
			if addr, err := netip.ParseAddr(m.Binding.HostIP); err == nil {
				binding.HostIP = addr
			}
			host.PortBindings[port] = append(host.PortBindings[port], binding)
		}
	}
	for _, text := range o.Expose {
		add(text, false)
	}
	for _, text := range o.Publish {
		add(text, true)
	}
}
